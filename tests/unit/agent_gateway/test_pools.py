from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from modelyard.agent.gateway.board import Seat, Tally
from modelyard.agent.gateway.config import Upstream
from modelyard.agent.gateway.counters import counters_in_memory
from modelyard.agent.gateway.pools import Pool, Shares, stuck_to
from modelyard.agent.gateway.upstream import Replica

LIMIT = 10
SEAT = Seat.alone()
SERIES = counters_in_memory().of("digits")
WEIGHTS = st.lists(st.integers(1, 100), min_size=1, max_size=5)


def make_pool(name: str, weight: int) -> Pool:
    pool = Pool(name)
    pool.weight = weight
    upstream = Upstream(f"/{name}", name, weight, name)
    pool.replicas = [Replica(upstream, SERIES, Tally(SEAT, name, None))]
    return pool


def make_pools(weights: list[int]) -> list[Pool]:
    return [make_pool(f"d{number}", weight) for number, weight in enumerate(weights)]


def taken(shares: Shares) -> str:
    replica = shares.take(LIMIT)
    assert replica is not None
    replica.requests.add(-1)
    return replica.upstream.deployment


@given(WEIGHTS, st.integers(0, 200))
def test_every_run_of_the_whole_weight_has_each_pool_as_often_as_its_weight(
    weights: list[int], start: int
) -> None:
    shares = Shares(make_pools(weights))
    for _ in range(start):
        taken(shares)
    counts = Counter(taken(shares) for _ in range(sum(weights)))
    assert counts == {f"d{number}": weight for number, weight in enumerate(weights)}


def test_a_pool_without_room_leaves_its_turn_and_claims_none_of_them_later() -> None:
    pools = make_pools([50, 50])
    shares = Shares(pools)
    pools[1].replicas[0].requests.set(LIMIT)
    assert {taken(shares) for _ in range(20)} == {"d0"}
    pools[1].replicas[0].requests.set(0)
    assert Counter(taken(shares) for _ in range(10)) == {"d0": 5, "d1": 5}


def test_nothing_is_taken_where_nothing_has_room() -> None:
    pools = make_pools([50, 50])
    for pool in pools:
        pool.replicas[0].requests.set(LIMIT)
    assert Shares(pools).take(LIMIT) is None
    assert Shares(()).take(LIMIT) is None


VALUES = [str(number).encode() for number in range(4000)]


class TestStuckTo:
    def test_shares_are_those_of_the_weights(self) -> None:
        counts = Counter(stuck_to(value, make_pools([90, 10])) for value in VALUES)
        assert 0.08 < counts["d1"] / len(VALUES) < 0.12

    @given(st.integers(1, 99), st.integers(1, 99))
    def test_who_is_on_a_deployment_whose_share_grows_stays(self, one: int, other: int) -> None:
        less, more = sorted((one, other))
        for value in VALUES[:300]:
            if stuck_to(value, make_pools([100 - less, less])) == "d1":
                assert stuck_to(value, make_pools([100 - more, more])) == "d1"

    def test_one_that_goes_moves_its_own_callers_only(self) -> None:
        pools = make_pools([50, 30, 20])
        for value in VALUES:
            before = stuck_to(value, pools)
            assert before == "d2" or stuck_to(value, pools[:2]) == before

    def test_without_a_pool_there_is_none(self) -> None:
        assert stuck_to(b"x", ()) == ""
