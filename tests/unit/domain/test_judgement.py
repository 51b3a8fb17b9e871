from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from modelyard.domain.cause import Cause, CauseCode
from modelyard.domain.judgement import SILENCE, Observation, Outcome, judge
from modelyard.domain.observed import ObservedDeployment, ObservedGateway, ObservedService
from modelyard.domain.rollout import Canary, Rollout
from modelyard.domain.service import (
    Deployment,
    ReplicaSettings,
    ReplicaState,
    ReplicaStatus,
    Service,
    ServiceSettings,
    ServiceState,
    ServiceStatus,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DIGEST = "sha256:" + "0" * 64
BROKEN = Cause(code=CauseCode.INIT_RAISED, message="`init()` raised KeyError")


def deployment(weight: int = 100, generation: int = 1) -> Deployment:
    return Deployment(
        id=uuid4(),
        image="iris:1",
        digest=DIGEST,
        settings=ReplicaSettings(),
        weight=weight,
        generation=generation,
        created_at=NOW,
    )


def service(
    *deployments: Deployment,
    generation: int = 1,
    reached: int = 0,
    state: ServiceState = ServiceState.TRANSITIONING,
) -> Service:
    return Service(
        id=uuid4(),
        workspace="default",
        name="iris",
        target="local",
        image="iris:1",
        models=("iris:1",),
        settings=ServiceSettings(replicas=2),
        generation=generation,
        deployments=deployments,
        status=ServiceStatus(state=state, generation=reached),
        created_at=NOW,
        updated_at=NOW,
        created_by="owner",
    )


def replica(state: ReplicaState, of: UUID, cause: Cause | None = None) -> ReplicaStatus:
    return ReplicaStatus(id="r1", deployment=of, image="iris:1", state=state, cause=cause)


def seen(
    wanted: Service,
    observed: ObservedDeployment | None,
    generation: int = 0,
    notice: Cause | None = None,
) -> Observation:
    return Observation(
        seen=NOW,
        service=ObservedService(
            id=wanted.id,
            name=wanted.name,
            generation=generation,
            deployments=(observed,) if observed else (),
            notice=notice,
        ),
    )


def test_ready_and_reached_is_healthy() -> None:
    new = deployment()
    wanted = service(new)
    verdict = judge(wanted, seen(wanted, ObservedDeployment(id=new.id, ready=True), 1), NOW)
    assert verdict.status.state is ServiceState.HEALTHY
    assert verdict.status.cause is None
    assert verdict.outcome is Outcome.REACHED


def test_without_a_replica_it_sleeps_if_it_may() -> None:
    new = deployment()
    wanted = service(new)
    sleeps = ServiceSettings(replicas=0, max_replicas=2)
    sleeper = wanted.model_copy(update={"settings": sleeps})
    ready = ObservedDeployment(id=new.id, ready=True)
    assert judge(sleeper, seen(sleeper, ready, 1), NOW).status.asleep
    assert not judge(wanted, seen(wanted, ready, 1), NOW).status.asleep
    awake = ready.model_copy(update={"replicas": (replica(ReplicaState.READY, new.id),)})
    assert not judge(sleeper, seen(sleeper, awake, 1), NOW).status.asleep
    assert not judge(sleeper, seen(sleeper, None), NOW).status.asleep


def test_ready_at_an_older_generation_is_pending() -> None:
    new = deployment()
    wanted = service(new, generation=2)
    verdict = judge(wanted, seen(wanted, ObservedDeployment(id=new.id, ready=True), 1), NOW)
    assert verdict.outcome is Outcome.PENDING


def test_a_failed_deployment_fails_with_its_cause() -> None:
    new = deployment()
    wanted = service(new)
    observed = ObservedDeployment(id=new.id, ready=False, failed=BROKEN)
    verdict = judge(wanted, seen(wanted, observed), NOW)
    assert verdict.status.state is ServiceState.FAILED
    assert verdict.status.cause == BROKEN
    assert verdict.outcome is Outcome.FAILED


def test_the_failure_of_a_deployment_on_its_way_out_does_not_count() -> None:
    old, new = deployment(weight=0), deployment(generation=2)
    wanted = service(old, new, generation=2)
    observation = Observation(
        seen=NOW,
        service=ObservedService(
            id=wanted.id,
            name=wanted.name,
            generation=2,
            deployments=(
                ObservedDeployment(id=old.id, ready=False, failed=BROKEN),
                ObservedDeployment(id=new.id, ready=True),
            ),
        ),
    )
    assert judge(wanted, observation, NOW).outcome is Outcome.REACHED


def tried(old: Deployment, new: Deployment, **changes: Any) -> Service:
    """A service with a candidate, `new`, and all of it reached."""
    wanted = service(old, new, generation=2, reached=2)
    canary = Canary(steps=(10,))
    rollout = Rollout(candidate=new.id, generation=2, canary=canary)
    return wanted.model_copy(update={"rollout": rollout, **changes})


def judged(wanted: Service, *observed: ObservedDeployment) -> tuple[ServiceState, Outcome]:
    report = ObservedService(id=wanted.id, name=wanted.name, generation=2, deployments=observed)
    verdict = judge(wanted, Observation(seen=NOW, service=report), NOW)
    return verdict.status.state, verdict.outcome


def test_a_failed_candidate_fails_though_what_served_goes_on() -> None:
    old, new = deployment(90), deployment(10, generation=2)
    fine = ObservedDeployment(id=old.id, ready=True)
    failed = ObservedDeployment(id=new.id, ready=False, failed=BROKEN)
    assert judged(tried(old, new), fine, failed) == (ServiceState.UNHEALTHY, Outcome.FAILED)


def test_a_candidate_is_not_blamed_for_what_served_before() -> None:
    old, new = deployment(90), deployment(10, generation=2)
    failed = ObservedDeployment(id=old.id, ready=False, failed=BROKEN)
    fine = ObservedDeployment(id=new.id, ready=True)
    assert judged(tried(old, new), failed, fine) == (ServiceState.UNHEALTHY, Outcome.PENDING)


def test_a_share_is_reached_when_all_are_ready() -> None:
    old, new = deployment(90), deployment(10, generation=2)
    fine = [ObservedDeployment(id=one.id, ready=True) for one in (old, new)]
    assert judged(tried(old, new), *fine) == (ServiceState.HEALTHY, Outcome.REACHED)
    assert judged(tried(old, new), fine[0])[1] is Outcome.PENDING


def test_starting_replicas_are_named() -> None:
    new = deployment()
    wanted = service(new)
    observed = ObservedDeployment(
        id=new.id, ready=False, replicas=(replica(ReplicaState.STARTING, new.id),)
    )
    verdict = judge(wanted, seen(wanted, observed), NOW)
    assert verdict.status.state is ServiceState.TRANSITIONING
    assert verdict.status.cause is not None
    assert verdict.status.cause.code is CauseCode.STARTING
    assert "0 of 2" in verdict.status.cause.message
    assert verdict.outcome is Outcome.PENDING


def test_a_replica_lost_after_arrival_is_unhealthy_with_its_cause() -> None:
    new = deployment()
    wanted = service(new, reached=1)
    observed = ObservedDeployment(
        id=new.id, ready=False, replicas=(replica(ReplicaState.FAILED, new.id, BROKEN),)
    )
    verdict = judge(wanted, seen(wanted, observed, 1), NOW)
    assert verdict.status.state is ServiceState.UNHEALTHY
    assert verdict.status.cause == BROKEN


def test_the_generation_that_was_reached_is_never_taken_back() -> None:
    new = deployment()
    wanted = service(new, generation=3, reached=3)
    verdict = judge(wanted, seen(wanted, ObservedDeployment(id=new.id, ready=True), 1), NOW)
    assert verdict.status.generation == 3


@pytest.mark.parametrize(
    ("age", "state"),
    [
        (SILENCE, ServiceState.TRANSITIONING),
        (SILENCE + timedelta(seconds=1), ServiceState.UNHEALTHY),
    ],
)
def test_a_silent_agent_is_gone_after_a_while(age: timedelta, state: ServiceState) -> None:
    wanted = service(deployment())
    verdict = judge(wanted, Observation(seen=NOW), NOW + age)
    assert verdict.status.state is state
    assert verdict.status.cause is not None
    gone = verdict.status.cause.code is CauseCode.AGENT_GONE
    assert gone is (state is ServiceState.UNHEALTHY)


def test_an_agent_never_heard_of_gets_the_same_time() -> None:
    wanted = service(deployment())
    assert judge(wanted, Observation(), NOW).status.state is ServiceState.TRANSITIONING
    late = judge(wanted, Observation(), NOW + 2 * SILENCE).status
    assert late.cause is not None
    assert late.cause.evidence == ("never heard of it",)


def test_a_gateway_without_its_port_is_the_cause() -> None:
    taken = Cause(code=CauseCode.PORT_TAKEN, message="port 7880 is taken")
    new = deployment()
    wanted = service(new)
    observation = Observation(seen=NOW, gateway=ObservedGateway(cause=taken))
    verdict = judge(wanted, observation, NOW)
    assert verdict.status.cause == taken
    assert verdict.status.state is ServiceState.UNHEALTHY


def test_refused_keys_are_told_although_all_is_ready() -> None:
    refused = Cause(code=CauseCode.KEY_REFUSED, message="12 requests with an unknown key")
    new = deployment()
    wanted = service(new)
    observation = seen(wanted, ObservedDeployment(id=new.id, ready=True), 1, notice=refused)
    verdict = judge(wanted, observation, NOW)
    assert verdict.status.state is ServiceState.HEALTHY
    assert verdict.status.cause == refused


def test_deleting_stays_deleting() -> None:
    wanted = service(deployment(), state=ServiceState.DELETING)
    verdict = judge(wanted, Observation(), NOW + 2 * SILENCE)
    assert verdict.status.state is ServiceState.DELETING
