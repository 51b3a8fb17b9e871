"""The scaling policy, on simulated loads."""

from __future__ import annotations

import math
import random
from math import inf

import pytest
from bench.scaling import SCALE, STEP, Load, simulate

from modelyard.domain.scaling import CALM, CORES_SHARED, TARGET, Demand, Grant, Room, Scale, grant


def step_at(seconds: float, low: float, high: float) -> Load:
    return lambda now: high if now >= seconds else low


def test_a_step_up_is_followed_within_a_second() -> None:
    run = simulate(step_at(100, 2, 28), 200)
    assert run.at(99) == 1
    assert run.at(101) == 4  # 28 of 40 is 70 %
    assert run.turns == 0
    assert run.had[-1] == 4


def test_a_step_down_is_followed_after_a_minute() -> None:
    run = simulate(step_at(100, 28, 2), 300, current=4)
    assert run.at(100 + CALM - 1) == 4
    assert run.at(100 + CALM + 2) == 1
    assert run.turns == 0


def test_a_ramp_is_followed_all_the_way() -> None:
    run = simulate(lambda now: now / 10, 600)
    for now in range(10, 590):
        load = now / 10
        assert run.at(now) >= min(math.ceil((load - 0.1) / (SCALE.capacity * TARGET)), 8)
    assert run.turns == 0
    assert run.wanted[-1] == 8


def test_a_spike_is_met_and_forgotten_a_minute_later() -> None:
    run = simulate(lambda now: 50 if 100 <= now < 105 else 2, 300)
    assert run.at(103) == 8
    assert run.at(105 + CALM + 2) == 1
    assert run.turns == 1


def test_a_day_takes_as_many_turns_as_it_has() -> None:
    minute = 60.0
    run = simulate(lambda now: 25 - 23 * math.cos(2 * math.pi * now / (60 * minute)), 60 * minute)
    assert run.turns == 1
    assert max(run.wanted) == math.ceil(48 / 7)
    assert run.wanted[-1] <= 2


@pytest.mark.parametrize("seed", range(20))
def test_a_load_that_only_trembles_moves_nothing_for_long(seed: int) -> None:
    chance = random.Random(seed)
    run = simulate(lambda now: max(chance.gauss(14, 3), 0), 600, current=2)
    assert run.turns <= 1
    assert set(run.wanted[int(10 / STEP) :]) <= {2, 3, 4}


def test_a_load_between_two_numbers_does_not_flap() -> None:
    run = simulate(lambda now: 7.1 if int(now / 20) % 2 else 6.9, 600)
    assert run.turns == 0


def test_it_stays_between_its_bounds() -> None:
    run = simulate(step_at(50, 0, 1000), 100, Scale(2, 3, 10, inf))
    assert min(run.wanted) == 2
    assert max(run.wanted) == 3


def test_the_last_replica_goes_after_the_idle_time_and_comes_with_a_request() -> None:
    scale = Scale(least=0, most=2, capacity=10, idle_time=120)
    run = simulate(lambda now: 1 if now < 50 or now >= 300 else 0, 310, scale)
    assert run.at(168) == 1
    assert run.at(171) == 0
    assert run.at(299) == 0
    assert run.at(300.2) == 1


def test_it_does_not_go_where_it_must_not() -> None:
    assert min(simulate(lambda _: 0, 3000).wanted) == 1


def test_a_new_agent_takes_nothing_away_for_a_minute() -> None:
    run = simulate(lambda _: 1, 120, current=5)
    assert run.at(CALM - 1) == 5
    assert run.at(CALM + 2) == 1


def demand(granted: int, wanted: int, memory: int = 1, ready: int = 0, cores: float = 0) -> Demand:
    return Demand(ready, granted, wanted, memory, cores)


class TestGrant:
    def test_all_get_what_they_want_where_it_fits(self) -> None:
        demands = {"a": demand(1, 3), "b": demand(2, 2), "c": demand(0, 0)}
        assert grant(Room(5, 1), demands) == {"a": Grant(3), "b": Grant(2), "c": Grant(0)}

    def test_what_is_left_is_shared_in_proportion(self) -> None:
        demands = {"a": demand(1, 8), "b": demand(1, 4)}
        grants = grant(Room(6, 1), demands)
        assert grants == {"a": Grant(4, "memory"), "b": Grant(2, "memory")}
        assert grants == grant(Room(6, 1), dict(reversed(demands.items())))

    def test_what_does_not_fit_leaves_room_for_what_does(self) -> None:
        demands = {"large": demand(1, 4, memory=4), "small": demand(1, 3)}
        assert grant(Room(7, 1), demands) == {"large": Grant(1, "memory"), "small": Grant(3)}

    def test_nothing_is_taken_away_on_a_host_that_is_too_small(self) -> None:
        assert grant(Room(-5, 0), {"a": demand(3, 3), "b": demand(2, 4)}) == {
            "a": Grant(3),
            "b": Grant(2, "memory"),
        }

    def test_ready_replicas_are_counted_in_the_room_already(self) -> None:
        assert grant(Room(2, 1), {"a": demand(4, 6, ready=4)}) == {"a": Grant(6)}
        assert grant(Room(2, 1), {"a": demand(4, 6, ready=3)}) == {"a": Grant(5, "memory")}

    def test_cores_are_shared_by_some_replicas_and_not_by_more(self) -> None:
        most = 2 * CORES_SHARED
        assert grant(Room(1 << 40, 2), {"a": demand(1, 100, cores=1.0)}) == {
            "a": Grant(most, "cores")
        }
