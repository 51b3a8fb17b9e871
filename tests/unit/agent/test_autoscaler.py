from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from tests.unit.agent.making import make_deployment, make_desired, make_replica, make_service

from modelyard.agent.autoscaler import Autoscaler
from modelyard.agent.drivers.base import Replica
from modelyard.domain.cause import CauseCode
from modelyard.domain.desired import DesiredService, DesiredState
from modelyard.domain.scaling import CALM, Room

ROOMY = Room(memory=1 << 40, cores=100)


class Host:
    """An autoscaler with its time and its gateway."""

    def __init__(self, service: DesiredService, room: Room = ROOMY) -> None:
        self.service = service
        self.autoscaler = Autoscaler(room)
        self.now = 0.0
        self.reached: dict[UUID, int] = {service.id: service.generation}
        self.replicas: tuple[Replica, ...] = ()
        self.others: tuple[DesiredService, ...] = ()

    def number(self, load: int | None, seconds: float = 1.0) -> int:
        """Replicas wanted after this load for so long; None: the gateway tells nothing."""
        loads: Mapping[str, int] = {} if load is None else {self.service.name: load}
        desired = make_desired(self.service, *self.others)
        scaled: DesiredState = desired
        for _ in range(int(seconds * 10)):
            self.now += 0.1
            scaled = self.autoscaler.scale(desired, self.replicas, loads, self.reached, self.now)
        return scaled.services[0].replicas


def elastic(**changes: object) -> DesiredService:
    values = {"replicas": 1, "max_replicas": 4, "max_concurrent_requests": 10, **changes}
    return make_service(make_deployment("a"), **values)


def test_a_fixed_service_is_left_alone() -> None:
    service = make_service(make_deployment("a"), replicas=2)
    desired = make_desired(service)
    assert Autoscaler(ROOMY).scale(desired, (), {service.name: 100}, {}, 0.0) is desired


def test_replicas_follow_the_load() -> None:
    host = Host(elastic())
    assert host.number(5) == 1
    assert host.number(21) == 3
    assert host.number(1000) == 4
    assert host.number(1, CALM + 5) == 1


def test_without_word_of_the_load_nothing_moves() -> None:
    host = Host(elastic())
    assert host.number(21) == 3
    assert host.number(None, 2 * CALM) == 3


def test_a_new_agent_keeps_what_runs() -> None:
    host = Host(elastic())
    host.replicas = tuple(make_replica(number) for number in range(3))
    assert host.number(None) == 3


def test_an_idle_service_goes_to_zero_and_wakes_with_a_request() -> None:
    host = Host(elastic(replicas=0, sleeps=True, idle_time=30.0))
    assert host.number(1) == 1
    assert host.number(0, 29) == 1
    assert host.number(0, 2) == 0
    assert host.number(1, 0.1) == 1


def test_a_change_has_a_replica_until_it_is_reached() -> None:
    host = Host(elastic(replicas=0, sleeps=True, idle_time=1.0, generation=2))
    host.reached = {host.service.id: 1}
    assert host.number(0, 30) == 1
    host.reached = {host.service.id: 2}
    assert host.number(0, 30) == 0


@pytest.mark.parametrize("most", [1, 2])
def test_bounds_that_change_hold_at_once(most: int) -> None:
    host = Host(elastic())
    assert host.number(1000) == 4
    host.service = host.service.model_copy(update={"max_replicas": most})
    assert host.number(1000, 0.1) == most


def test_no_more_start_than_the_host_has_memory_for() -> None:
    host = Host(elastic(), Room(memory=5 << 29, cores=100))
    assert host.number(1000) == 2
    cause = host.autoscaler.shortages["digits"]
    assert cause.code is CauseCode.HOST_FULL
    assert "wants 4 replicas for its load, and this host has memory for 2" in cause.message
    assert host.number(1000, 2 * CALM) == 2
    assert host.number(14) == 2
    assert host.autoscaler.shortages == {}


def test_those_that_are_there_stay_when_there_is_less_room() -> None:
    host = Host(elastic(), Room(memory=0, cores=100))
    host.replicas = tuple(make_replica(number) for number in range(3))
    assert host.number(1000) == 3
    assert "memory for 3" in host.autoscaler.shortages["digits"].message


def test_what_was_asked_for_is_started_and_said_to_be_too_much() -> None:
    service = make_service(make_deployment("a"), replicas=3)
    autoscaler = Autoscaler(Room(memory=1 << 30, cores=100))
    assert autoscaler.scale(make_desired(service), (), {}, {}, 0.0).services[0].replicas == 3
    assert (
        "was asked to have 3 replicas, for which this host has not enough memory"
        in autoscaler.shortages["digits"].message
    )


def test_the_first_replica_of_a_sleeping_service_starts_on_a_full_host() -> None:
    host = Host(elastic(replicas=0, sleeps=True, idle_time=30.0), Room(memory=0, cores=0))
    host.number(0, 31)
    assert host.number(1000) == 1


def test_services_of_a_fixed_number_take_what_they_use() -> None:
    host = Host(elastic(), Room(memory=5 << 30, cores=100))
    other = make_service(make_deployment("b"), name="other", replicas=2, id=uuid4())
    host.others = (other,)
    assert host.number(1000) == 3  # the two of the other one are not ready yet
    identity = replace(make_replica(0).identity, service=other.id)
    host.replicas = tuple(
        replace(make_replica(number), identity=identity, memory=100 << 20) for number in (7, 8)
    )
    assert host.number(1000) == 4


def test_services_that_follow_the_load_take_what_they_may_use() -> None:
    host = Host(elastic(), Room(memory=5 << 29, cores=100))
    host.replicas = tuple(replace(make_replica(number), memory=1) for number in range(2))
    assert host.number(1000) == 2
