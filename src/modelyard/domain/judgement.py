"""From what a host reports to how a service is doing, and why. Pure: the time is an argument."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from modelyard.domain.cause import OF_THE_SCRIPT, Cause, CauseCode
from modelyard.domain.service import (
    Deployment,
    ObservedDeployment,
    ObservedGateway,
    ObservedService,
    ReplicaState,
    Service,
    ServiceState,
    ServiceStatus,
)
from modelyard.domain.values import Value

SILENCE = timedelta(seconds=10)
"""An agent reports every 2 seconds; after five missed reports it counts as gone."""


class Observation(Value):
    """What is known of one service at its target."""

    seen: datetime | None = None
    """When its agent was last heard, or null when it never was."""
    listening_since: datetime | None = None
    """When this server began to listen: silence before that says nothing."""
    answered: bool = False
    """The report answers the newest desired state: what is not in it does not exist."""
    gateway: ObservedGateway = ObservedGateway()
    service: ObservedService | None = None


class Outcome(StrEnum):
    """Where the newest change of a service stands."""

    PENDING = "pending"
    REACHED = "reached"
    FAILED = "failed"


class Verdict(NamedTuple):
    """How a service is doing."""

    status: ServiceStatus
    outcome: Outcome


def judge(service: Service, observation: Observation, now: datetime) -> Verdict:
    """Decide state, cause and outcome of a service from what was observed."""
    observed = observation.service
    deployment = _observed_deployment(service, observed)
    reached = max(service.status.generation, observed.generation if observed else 0)
    state, cause = _state(service, observation, deployment, reached, now)
    status = ServiceStatus(
        state=state,
        generation=reached,
        replicas=tuple(r for d in observed.deployments for r in d.replicas) if observed else (),
        cause=cause,
        observed_at=observation.seen,
    )
    return Verdict(status, _outcome(service, deployment, status))


def current(service: Service) -> Deployment | None:
    """The deployment that is wanted: the one with traffic."""
    return next((d for d in service.deployments if d.weight > 0), None)


def _observed_deployment(
    service: Service, observed: ObservedService | None
) -> ObservedDeployment | None:
    wanted = current(service)
    if observed is None or wanted is None:
        return None
    return next((d for d in observed.deployments if d.id == wanted.id), None)


def _state(
    service: Service,
    observation: Observation,
    deployment: ObservedDeployment | None,
    reached: int,
    now: datetime,
) -> tuple[ServiceState, Cause | None]:
    if service.status.state is ServiceState.DELETING:
        return ServiceState.DELETING, None
    silence = _silence(service, observation, now)
    if silence is not None:
        return silence
    if observation.gateway.cause is not None:
        return ServiceState.UNHEALTHY, observation.gateway.cause
    if deployment is not None and deployment.failed is not None:
        return ServiceState.FAILED, _mind_environment(service, deployment.failed)
    if deployment is None or not deployment.ready:
        arriving = reached < service.generation
        state = ServiceState.TRANSITIONING if arriving else ServiceState.UNHEALTHY
        return state, _replica_cause(service, deployment)
    return ServiceState.HEALTHY, observation.service.notice if observation.service else None


def _silence(
    service: Service, observation: Observation, now: datetime
) -> tuple[ServiceState, Cause] | None:
    """The state when nothing was heard from the agent for too long."""
    signs = (observation.seen or service.updated_at, observation.listening_since)
    last_sign = max(sign for sign in signs if sign is not None)
    if now - last_sign <= SILENCE:
        return None
    heard = (
        f"last heard at {observation.seen:%Y-%m-%d %H:%M:%S} UTC"
        if observation.seen
        else "never heard of it"
    )
    return ServiceState.UNHEALTHY, Cause(
        code=CauseCode.AGENT_GONE,
        message=f"The agent that runs `{service.name}` does not report.",
        evidence=(heard,),
        fix="Replicas that run go on serving. Start the agent again: `modelyard server start`; "
        "what it says is in `agent/agent.log` below the home folder.",
    )


def _replica_cause(service: Service, deployment: ObservedDeployment | None) -> Cause:
    replicas = deployment.replicas if deployment else ()
    for replica in replicas:
        if replica.cause is not None:
            return _mind_environment(service, replica.cause)
    ready = sum(replica.state is ReplicaState.READY for replica in replicas)
    wanted = max(service.settings.replicas, len(replicas), 1)
    return Cause(
        code=CauseCode.STARTING,
        message=f"`{service.name}` is starting: {ready} of {wanted} replicas are ready.",
        evidence=tuple(f"replica {replica.id}: {replica.state}" for replica in replicas),
        fix=f"Wait, or follow it with `modelyard service logs {service.name} --follow`.",
    )


def _mind_environment(service: Service, cause: Cause) -> Cause:
    """An image that passed its check may fail for the variables that the check did not have."""
    variables = ", ".join(sorted(service.settings.environment))
    if not variables or cause.code not in OF_THE_SCRIPT:
        return cause
    fix = f"The image passed its check without the variables of this service: {variables}."
    return cause.model_copy(update={"fix": f"{fix} {cause.fix}".strip()})


def _outcome(
    service: Service, deployment: ObservedDeployment | None, status: ServiceStatus
) -> Outcome:
    if deployment is not None and deployment.failed is not None:
        return Outcome.FAILED
    if status.generation >= service.generation and deployment is not None and deployment.ready:
        return Outcome.REACHED
    return Outcome.PENDING
