from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.agent.making import (
    an_id,
    make_cause,
    make_deployment,
    make_desired,
    make_replica,
    make_service,
    make_world,
    settled,
)

from modelyard.agent.report import report
from modelyard.agent.world import World
from modelyard.domain.cause import CauseCode
from modelyard.domain.observed import ObservedDeployment, ObservedService
from modelyard.domain.service import ReplicaState

DESIRED = make_desired(make_service(generation=7))


def observe(world: World, reached: int = 0) -> ObservedService:
    [service] = report(DESIRED, world, {an_id("digits"): reached})
    return service


def only_deployment(world: World) -> ObservedDeployment:
    [deployment] = observe(world).deployments
    return deployment


def test_ready_and_routed_service_has_reached_its_generation() -> None:
    world = settled(DESIRED, make_world(make_replica(0), make_replica(1)))
    seen = observe(world)
    assert (seen.generation, seen.deployments[0].ready) == (7, True)
    assert [r.state for r in seen.deployments[0].replicas] == [ReplicaState.READY] * 2


@pytest.mark.parametrize("applied", [None, 0])
def test_service_is_not_ready_before_the_gateway_obeys(applied: int | None) -> None:
    world = settled(DESIRED, make_world(make_replica(0), make_replica(1)))
    world = replace(world, gateway=replace(world.gateway, applied=applied))
    seen = observe(world, reached=3)
    assert (seen.generation, seen.deployments[0].ready) == (3, False)


def test_missing_replica_is_not_ready() -> None:
    world = settled(DESIRED, make_world(make_replica(0)))
    assert not only_deployment(world).ready


def test_generation_once_reached_stays_when_a_replica_is_lost() -> None:
    world = settled(DESIRED, make_world(make_replica(0)))
    assert observe(world, reached=7).generation == 7


def test_generation_is_not_reached_while_the_former_deployment_drains() -> None:
    draining = make_replica(0, "b", ReplicaState.DRAINING)
    world = settled(DESIRED, make_world(make_replica(0), make_replica(1), draining))
    seen = observe(world)
    assert seen.generation == 0
    assert [(d.id, d.ready) for d in seen.deployments] == [(an_id("a"), True), (an_id("b"), False)]


def test_ended_leftovers_are_not_reported() -> None:
    ended = make_replica(0, "b", ReplicaState.FAILED, alive=False)
    world = settled(DESIRED, make_world(make_replica(0), make_replica(1), ended))
    assert len(observe(world).deployments) == 1
    assert observe(world).generation == 7


@pytest.mark.parametrize(
    ("code", "failures", "lasting"),
    [
        (CauseCode.IMPORT_FAILED, 1, True),
        (CauseCode.INIT_RAISED, 1, True),
        (CauseCode.INIT_HUNG, 1, True),
        (CauseCode.INIT_RAISED, 0, False),
        (CauseCode.KILLED, 3, False),
        (CauseCode.KILLED, 4, True),
        (CauseCode.OUT_OF_MEMORY, 3, False),
        (CauseCode.OUT_OF_MEMORY, 4, True),
    ],
)
def test_failure_is_lasting_by_its_cause(code: CauseCode, failures: int, lasting: bool) -> None:
    cause = make_cause(code)
    replica = make_replica(0, state=ReplicaState.STARTING, failures=failures, cause=cause)
    found = only_deployment(make_world(replica, make_replica(1)))
    assert found.failed == (cause if lasting else None)


def test_problem_of_the_host_is_a_failure() -> None:
    problem = make_cause(CauseCode.WRONG_PLATFORM)
    world = make_world(problems={an_id("a"): problem})
    assert only_deployment(world).failed == problem


def test_ready_deployment_has_not_failed() -> None:
    replicas = make_replica(0, failures=5, cause=make_cause()), make_replica(1)
    assert only_deployment(settled(DESIRED, make_world(*replicas))).failed is None


def test_unwanted_service_is_reported_until_its_replicas_are_gone() -> None:
    world = make_world(make_replica(0, state=ReplicaState.DRAINING))
    [seen] = report(make_desired(), world, {})
    assert (seen.id, seen.name, seen.generation) == (an_id("digits"), "digits", 0)
    ended = make_world(make_replica(0, alive=False))
    assert report(make_desired(), ended, {}) == ()


def test_surplus_of_a_wanted_deployment_is_reported_once() -> None:
    replicas = [make_replica(number) for number in range(3)]
    deployment = only_deployment(make_world(*replicas))
    assert [r.id for r in deployment.replicas] == [replica.id for replica in replicas]


def test_notice_comes_with_its_service() -> None:
    notice = make_cause(CauseCode.KEY_REFUSED)
    desired = make_desired(make_service(), make_service(make_deployment("b"), name="iris"))
    first, second = report(desired, make_world(), {}, {"iris": notice})
    assert (first.notice, second.notice) == (None, notice)
