"""From what a host reports to how a service is doing, and why. Pure: the time is an argument."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from modelyard.domain.cause import OF_THE_SCRIPT, Cause, CauseCode
from modelyard.domain.observed import ObservedDeployment, ObservedGateway, ObservedService
from modelyard.domain.service import Deployment, ReplicaState, Service, ServiceState, ServiceStatus
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
    standby: bool = False
    """What served before is kept ready, because the new deployment is still judged on its host."""


def judge(service: Service, observation: Observation, now: datetime) -> Verdict:
    """Decide state, cause and outcome of a service from what was observed."""
    observed = observation.service
    seen = _seen(service, observed)
    reached = max(service.status.generation, observed.generation if observed else 0)
    state, cause = _state(service, observation, seen, reached, now)
    replicas = tuple(r for d in observed.deployments for r in d.replicas) if observed else ()
    status = ServiceStatus(
        state=state,
        generation=reached,
        replicas=replicas,
        asleep=state is ServiceState.HEALTHY and service.settings.replicas == 0 and not replicas,
        comparison=next((d.comparison for d in seen.values() if d and d.comparison), None),
        cause=cause,
        observed_at=observation.seen,
    )
    standby = observed is not None and observed.standby is not None
    return Verdict(status, _outcome(service, seen, status), standby)


def current(service: Service) -> Deployment | None:
    """The newest deployment that is to have replicas: of a rollout, the candidate."""
    return next((d for d in reversed(_wanted(service))), None)


def _wanted(service: Service) -> list[Deployment]:
    candidate = None if service.rollout is None else service.rollout.candidate
    return [d for d in service.deployments if d.weight > 0 or d.id == candidate]


def _seen(
    service: Service, observed: ObservedService | None
) -> dict[UUID, ObservedDeployment | None]:
    """What is seen of each deployment that is to have replicas."""
    known = {d.id: d for d in observed.deployments} if observed is not None else {}
    return {d.id: known.get(d.id) for d in _wanted(service)}


def _state(
    service: Service,
    observation: Observation,
    seen: Mapping[UUID, ObservedDeployment | None],
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
    failures = [d.failed for d in seen.values() if d is not None and d.failed is not None]
    if failures:
        # Of several deployments those that can run answer for the others.
        lost = len(failures) == len(seen)
        state = ServiceState.FAILED if lost else ServiceState.UNHEALTHY
        return state, _mind_environment(service, failures[0])
    if not _all_ready(seen):
        arriving = reached < service.generation
        state = ServiceState.TRANSITIONING if arriving else ServiceState.UNHEALTHY
        return state, _replica_cause(service, [d for d in seen.values() if d is not None])
    return ServiceState.HEALTHY, observation.service.notice if observation.service else None


def _all_ready(seen: Mapping[UUID, ObservedDeployment | None]) -> bool:
    return bool(seen) and all(d is not None and d.ready for d in seen.values())


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


def _replica_cause(service: Service, seen: Iterable[ObservedDeployment]) -> Cause:
    replicas = [replica for deployment in seen for replica in deployment.replicas]
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
    service: Service, seen: Mapping[UUID, ObservedDeployment | None], status: ServiceStatus
) -> Outcome:
    # What served before a candidate came is none of its faults.
    deciding = [service.rollout.candidate] if service.rollout is not None else list(seen)
    found = [seen.get(deployment) for deployment in deciding]
    if any(d is not None and d.failed is not None for d in found):
        return Outcome.FAILED
    if status.generation >= service.generation and _all_ready(seen):
        return Outcome.REACHED
    return Outcome.PENDING
