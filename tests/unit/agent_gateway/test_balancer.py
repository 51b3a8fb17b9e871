from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.unit.agent_gateway.clock import ManualLoop
from tests.unit.runtime.replies import outcome

from modelyard.agent.gateway import balancer as balancer_module
from modelyard.agent.gateway import counters as counters_module
from modelyard.agent.gateway.balancer import Balancer
from modelyard.agent.gateway.board import Board, Tally
from modelyard.agent.gateway.config import GatewayConfig, ServiceRoute, Upstream
from modelyard.agent.gateway.counters import Series, counters_in_memory
from modelyard.agent.gateway.loads import draining
from modelyard.agent.gateway.relaying import AnswerBody
from modelyard.agent.gateway.upstream import Exchange, Replica
from modelyard_runtime.families import SECONDS

ROUTE = ServiceRoute(
    name="digits",
    auth="none",
    keys=(),
    scoring_timeout=60.0,
    max_concurrent_requests=2,
    max_queue_wait=10.0,
    upstreams=tuple(Upstream(f"/{name}", "deployment-a", 100, name) for name in "ab"),
    max_queued_requests=3,
)


class SilentReplica(Replica):
    """Keeps what is sent to it and says nothing; the test plays its part."""

    def __init__(self, upstream: Upstream, series: Series, requests: Tally) -> None:
        super().__init__(upstream, series, requests)
        self.got: list[Exchange] = []

    def send(self, exchange: Exchange) -> None:
        exchange.replica = self
        exchange.attempts += 1
        self.got.append(exchange)


@pytest.fixture(autouse=True)
def _silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(balancer_module, "Replica", SilentReplica)


class Traffic:
    """A balancer, its replicas by name, and requests."""

    def __init__(
        self,
        route: ServiceRoute = ROUTE,
        board: Board | None = None,
        loop: ManualLoop | None = None,
    ) -> None:
        self.loop = loop or ManualLoop()
        self.board = board or Board()
        seat = self.board.sit(0, 0)
        assert seat is not None
        self.seat = seat
        self.counters = counters_in_memory()
        self.balancer = Balancer(route, self.loop, self.counters, seat)

    def replica(self, name: str) -> SilentReplica:
        found = [r for r in self.balancer._active if r.upstream.replica == name]
        assert isinstance(found[0], SilentReplica)
        return found[0]

    def counted(self) -> Counter[int]:
        """Answers by status."""
        values = self.counters.of("digits", "deployment-a").values
        return Counter({100 + at: int(n) for at, n in enumerate(values[:500]) if n})

    def draining(self) -> dict[str, int]:
        services = (self.balancer.route,) if self.balancer._known else ()
        return draining(self.board, GatewayConfig(1, services))

    def request(self, deployment: str = "", *, named: bool = False) -> Exchange:
        exchange = Exchange(self.balancer, b"id", b"head", b"body")
        exchange.deployment, exchange.named = deployment, named and deployment != ""
        self.balancer.submit(exchange)
        return exchange

    def answer(self, exchange: Exchange, status: int = 200) -> None:
        self.balancer.answered(exchange, status, b"", b"", None)


def where(exchange: Exchange) -> str:
    assert exchange.replica is not None
    return exchange.replica.upstream.replica


def status(exchange: Exchange) -> int:
    return outcome(exchange).status


def code(exchange: Exchange) -> str:
    return json.loads(outcome(exchange).body)["code"]


def test_every_answer_is_counted_once_by_its_status() -> None:
    traffic = Traffic()
    first, second, third, fourth = (traffic.request() for _ in range(4))
    traffic.answer(first)
    traffic.answer(second, 422)
    traffic.balancer.lost(third, "replica_lost", "it ended")
    traffic.balancer.unread(fourth)  # goes elsewhere
    traffic.loop.advance(60.0)
    assert traffic.counted() == {200: 1, 422: 1, 502: 1, 504: 1}
    for _ in range(7):
        traffic.request()
    traffic.request()
    assert traffic.counters.of("digits").values[503 - 100] == 1


def test_shapes_are_looked_at_only_while_deployments_are_compared() -> None:
    for judged, head, status, seen in (
        (True, b"POST /score", 200, 1),
        (True, b"GET /swagger.json", 200, 0),
        (True, b"POST /score", 500, 0),
        (False, b"POST /score", 200, 0),
    ):
        traffic = Traffic(replace(ROUTE, judged=judged))
        exchange = Exchange(traffic.balancer, b"id", head, b"body")
        traffic.balancer.submit(exchange)
        looked_at: list[bytes] = []
        assert exchange.replica is not None
        exchange.replica.series.shapes = SimpleNamespace(look_at=looked_at.append)  # type: ignore[assignment]
        traffic.balancer.answered(exchange, status, b"", b"[1]", None)
        assert len(looked_at) == seen


def test_an_answer_in_parts_is_counted_at_its_end() -> None:
    traffic = Traffic()
    whole, broken, late = (traffic.request() for _ in range(3))
    for exchange in (whole, broken, late):
        traffic.balancer.begun(exchange, 200, b"", AnswerBody(lambda: None), None)
    assert traffic.counted() == {}
    traffic.balancer.ended(whole)
    traffic.balancer.lost(broken, "replica_lost", "it ended")
    traffic.loop.advance(60.0)
    assert traffic.counted() == {200: 1, 502: 1, 504: 1}


def test_ties_go_round() -> None:
    traffic = Traffic()
    served = []
    for _ in range(6):
        exchange = traffic.request()
        served.append(where(exchange))
        traffic.answer(exchange)
    assert Counter(served) == {"a": 3, "b": 3}


def test_the_replica_with_fewest_in_flight_gets_the_request() -> None:
    traffic = Traffic(replace(ROUTE, max_concurrent_requests=10))
    first = [traffic.request() for _ in range(8)]
    on_a = [exchange for exchange in first if where(exchange) == "a"]
    for exchange in on_a[:3]:
        traffic.answer(exchange)
    assert [where(traffic.request()) for _ in range(3)] == ["a", "a", "a"]


def test_no_replica_gets_more_than_its_limit_and_the_rest_wait_in_order() -> None:
    traffic = Traffic()
    running = [traffic.request() for _ in range(4)]
    waiting = [traffic.request() for _ in range(3)]
    assert [traffic.replica(name).in_flight for name in "ab"] == [2, 2]
    assert all(exchange.replica is None for exchange in waiting)
    traffic.answer(running[2])
    assert where(waiting[0]) == where(running[2])
    assert waiting[1].replica is None


def test_a_full_queue_refuses_at_once() -> None:
    traffic = Traffic()
    for _ in range(7):
        traffic.request()
    refused = traffic.request()
    assert (status(refused), code(refused)) == (503, "overloaded")
    assert (b"retry-after", b"1") in outcome(refused).headers


def test_no_wait_means_refused_at_once() -> None:
    traffic = Traffic(replace(ROUTE, max_queue_wait=0.0))
    for _ in range(4):
        traffic.request()
    assert code(traffic.request()) == "overloaded"


def test_who_waits_too_long_is_refused_and_not_served_later() -> None:
    traffic = Traffic()
    running = [traffic.request() for _ in range(4)]
    waiting = traffic.request()
    traffic.loop.advance(9.9)
    assert not waiting.settled
    traffic.loop.advance(0.1)
    assert (status(waiting), code(waiting)) == (503, "overloaded")
    traffic.answer(running[0])
    assert waiting.attempts == 0


def test_waits_are_measured_in_vain_or_not() -> None:
    traffic = Traffic()
    running = [traffic.request() for _ in range(4)]
    served, refused = traffic.request(), traffic.request()
    traffic.loop.advance(0.3)
    traffic.answer(running[0])
    assert served.replica is not None
    traffic.loop.advance(9.7)
    assert status(refused) == 503
    values = list(traffic.counters.of("digits").values)
    waits, waited = values[counters_module._WAITS : counters_module._WAITED], values[-1]
    assert waited == pytest.approx(10.3)
    assert [bound for bound, count in zip(SECONDS, waits, strict=False) if count] == [
        *(0.5, 10.0),
    ]


def test_a_client_that_leaves_the_queue_is_not_served() -> None:
    traffic = Traffic()
    running = [traffic.request() for _ in range(4)]
    gone, next_one = traffic.request(), traffic.request()
    gone.forsake()
    traffic.answer(running[0])
    assert gone.attempts == 0
    assert where(next_one) == where(running[0])


def test_a_client_that_leaves_while_served_keeps_its_place_until_the_replica_is_free() -> None:
    traffic = Traffic()
    exchange = traffic.request()
    exchange.forsake()
    assert traffic.replica(where(exchange)).in_flight == 1
    traffic.answer(exchange)
    assert traffic.replica(where(exchange)).in_flight == 0


def test_a_slow_replica_costs_504_and_its_place_is_given_to_the_next() -> None:
    traffic = Traffic(replace(ROUTE, scoring_timeout=3.0))
    slow = [traffic.request() for _ in range(4)]
    waiting = traffic.request()
    traffic.loop.advance(3.0)
    assert [(status(e), code(e)) for e in slow] == [(504, "scoring_timeout")] * 4
    assert all(exchange.over for exchange in slow)
    assert waiting.attempts == 1


def test_changed_times_hold_for_new_requests_only() -> None:
    traffic = Traffic(replace(ROUTE, scoring_timeout=60.0))
    old = traffic.request()
    traffic.balancer.change(replace(ROUTE, scoring_timeout=5.0))
    new = traffic.request()
    traffic.loop.advance(5.0)
    assert status(new) == 504
    assert not old.settled
    traffic.loop.advance(55.0)
    assert status(old) == 504


def begin(traffic: Traffic, exchange: Exchange) -> AnswerBody:
    body = AnswerBody(lambda: None)
    traffic.balancer.begun(exchange, 200, b"x-a: 1\r\n", body, None)
    return body


def test_an_answer_in_parts_keeps_its_place_until_it_ends() -> None:
    traffic = Traffic()
    running = [traffic.request() for _ in range(4)]
    waiting = traffic.request()
    body = begin(traffic, running[0])
    response = outcome(running[0])
    assert (response.body, response.length) == (body, None)
    assert response.encoded.startswith(b"x-a: 1\r\nx-modelyard-deployment: deployment-")
    assert response.encoded.endswith(b"x-request-id: id\r\nx-prediction-id: id\r\n")
    assert waiting.attempts == 0
    traffic.balancer.ended(running[0])
    assert waiting.attempts == 1


def test_an_answer_in_parts_may_last_as_long_as_it_moves() -> None:
    traffic = Traffic(replace(ROUTE, scoring_timeout=3.0))
    exchange = traffic.request()
    begin(traffic, exchange)
    for _ in range(5):
        traffic.loop.advance(2.0)
        traffic.balancer.moved(exchange)
    traffic.balancer.held(exchange)  # by the client: that is not the replica's time
    traffic.loop.advance(60.0)
    assert not exchange.over
    traffic.balancer.moved(exchange)
    traffic.loop.advance(3.0)
    assert exchange.over
    assert sum(traffic.draining().values()) == 0


def test_an_answer_in_parts_that_is_lost_gives_its_place_to_the_next() -> None:
    traffic = Traffic()
    running = [traffic.request() for _ in range(4)]
    waiting = traffic.request()
    begin(traffic, running[0])
    traffic.balancer.lost(running[0], "replica_lost", "it ended")
    assert waiting.attempts == 1
    assert status(running[0]) == 200  # what has begun cannot be taken back


def test_a_request_that_was_not_read_goes_to_another_replica() -> None:
    traffic = Traffic()
    exchange = traffic.request()
    first = where(exchange)
    traffic.balancer.unread(exchange)
    assert where(exchange) != first
    assert traffic.replica(first).in_flight == 0


def test_without_another_replica_it_goes_to_the_same_one_again() -> None:
    traffic = Traffic(replace(ROUTE, upstreams=ROUTE.upstreams[:1]))
    exchange = traffic.request()
    traffic.balancer.unread(exchange)
    assert where(exchange) == "a"
    assert traffic.replica("a").in_flight == 1


def test_it_is_not_sent_for_ever() -> None:
    traffic = Traffic()
    exchange = traffic.request()
    traffic.balancer.unread(exchange)
    traffic.balancer.unread(exchange)
    traffic.balancer.unread(exchange)
    assert exchange.attempts == 3
    assert (status(exchange), code(exchange)) == (503, "unavailable")


def test_a_request_that_may_have_run_is_not_sent_again() -> None:
    traffic = Traffic()
    exchange = traffic.request()
    traffic.balancer.lost(exchange, "replica_lost", "it ended")
    assert exchange.attempts == 1
    assert (status(exchange), code(exchange)) == (502, "replica_lost")
    assert json.loads(outcome(exchange).body)["request_id"] == "id"


def test_a_replica_that_cannot_be_reached_is_set_aside_for_longer_each_time() -> None:
    traffic = Traffic()
    rests = []
    for _ in range(6):
        while where(exchange := traffic.request()) != "a":
            traffic.answer(exchange)
        traffic.balancer.unreachable(exchange, "connection refused")
        assert where(exchange) == "b"
        traffic.answer(exchange)
        began = traffic.loop.time()
        while traffic.replica("a").resting:
            traffic.loop.advance(0.01)
        rests.append(round(traffic.loop.time() - began, 1))
    assert rests == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_failures_at_the_same_time_count_as_one() -> None:
    traffic = Traffic()
    exchanges = [traffic.request() for _ in range(4)]
    failing = [exchange for exchange in exchanges if where(exchange) == "a"]
    replica = traffic.replica("a")
    for exchange in failing:
        traffic.balancer.unreachable(exchange, "connection refused")
    assert replica.failures == 1


def test_an_answer_ends_the_growth() -> None:
    traffic = Traffic()
    exchange = traffic.request()
    lost = exchange.replica
    traffic.balancer.unreachable(exchange, "connection refused")
    traffic.answer(exchange)
    traffic.loop.advance(1)
    while traffic.request().replica is not lost:
        pass
    assert isinstance(lost, SilentReplica)
    traffic.answer(lost.got[-1])
    assert lost.failures == 0


def test_the_last_replica_is_tried_again_soon_and_the_request_waits() -> None:
    traffic = Traffic(replace(ROUTE, upstreams=ROUTE.upstreams[:1]))
    exchange = traffic.request()
    for _ in range(20):
        traffic.balancer.unreachable(exchange, "no such file")
        assert not exchange.settled
        traffic.loop.advance(0.05)
    assert exchange.attempts == 21
    traffic.answer(exchange)
    assert status(exchange) == 200


def test_it_waits_for_an_unreachable_replica_no_longer_than_for_a_busy_one() -> None:
    traffic = Traffic(replace(ROUTE, upstreams=ROUTE.upstreams[:1]))
    began = traffic.loop.time()
    exchange = traffic.request()
    while not exchange.settled:
        traffic.balancer.unreachable(exchange, "no such file")
        traffic.loop.advance(0.05)
    assert traffic.loop.time() - began == pytest.approx(10.0, abs=0.1)
    assert (status(exchange), code(exchange)) == (503, "unavailable")


def test_a_request_sent_back_to_the_queue_is_first_in_line() -> None:
    traffic = Traffic(replace(ROUTE, max_concurrent_requests=1))
    one, two = traffic.request(), traffic.request()
    waiting = traffic.request()
    traffic.balancer.unreachable(one, "connection refused")
    assert not one.settled
    traffic.answer(two)
    assert (one.attempts, waiting.attempts) == (2, 0)
    traffic.balancer.unreachable(one, "connection refused")
    traffic.loop.advance(0.05)
    assert (one.attempts, waiting.attempts) == (3, 0)


def test_no_replica_is_503_with_the_reason() -> None:
    reason = "its replicas are starting"
    traffic = Traffic(replace(ROUTE, upstreams=(), unavailable=reason))
    refused = traffic.request()
    assert (status(refused), code(refused)) == (503, "unavailable")
    assert reason in json.loads(outcome(refused).body)["message"]
    assert (b"retry-after", b"1") in outcome(refused).headers


def test_who_waits_when_the_last_replica_goes_may_be_served_by_the_next() -> None:
    traffic = Traffic(replace(ROUTE, max_concurrent_requests=1))
    traffic.request()
    traffic.request()
    waiting = traffic.request()
    traffic.balancer.change(replace(ROUTE, upstreams=()))
    assert not waiting.settled
    traffic.balancer.change(replace(ROUTE, upstreams=(Upstream("/c", "new", 100, "c"),)))
    assert where(waiting) == "c"


def test_a_new_replica_serves_those_who_wait() -> None:
    traffic = Traffic()
    for _ in range(4):
        traffic.request()
    waiting = traffic.request()
    traffic.balancer.change(
        replace(ROUTE, upstreams=(*ROUTE.upstreams, Upstream("/c", "new", 100, "c")))
    )
    assert where(waiting) == "c"


def repeatable(traffic: Traffic) -> Exchange:
    exchange = Exchange(traffic.balancer, b"id", b"head", b"body")
    exchange.repeatable = True
    traffic.balancer.submit(exchange)
    return exchange


def lose(traffic: Traffic, exchange: Exchange) -> None:
    traffic.balancer.lost(exchange, "replica_lost", "it ended")


def test_a_lost_request_that_may_run_twice_goes_to_another_replica() -> None:
    traffic = Traffic()
    exchange = repeatable(traffic)
    first = where(exchange)
    lose(traffic, exchange)
    assert where(exchange) != first
    traffic.answer(exchange)
    assert status(exchange) == 200
    assert traffic.counted() == {502: 1, 200: 1}


def test_it_is_lost_at_the_third_replica_for_good() -> None:
    traffic = Traffic()
    exchange = repeatable(traffic)
    for _ in range(3):
        assert not exchange.settled
        lose(traffic, exchange)
    assert (status(exchange), exchange.attempts) == (502, 3)


def test_what_is_passed_on_or_answered_or_given_up_is_not_sent_again() -> None:
    traffic = Traffic()
    passed_on, begun, gone = (repeatable(traffic) for _ in range(3))
    passed_on.passed_on = True
    begin(traffic, begun)
    gone.forsake()
    for exchange in (passed_on, begun, gone):
        lose(traffic, exchange)
    assert [exchange.attempts for exchange in (passed_on, begun, gone)] == [1, 1, 1]
    assert status(passed_on) == 502


def test_an_outage_is_not_multiplied() -> None:
    traffic = Traffic(replace(ROUTE, max_concurrent_requests=1000))
    lost = [repeatable(traffic) for _ in range(100)]
    for exchange in lost:
        lose(traffic, exchange)
    assert sum(not exchange.settled for exchange in lost) == 20


def test_a_replica_that_loses_all_is_set_aside_for_ever_longer() -> None:
    traffic = Traffic()
    loser = traffic.replica("a")
    for rest in (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0):
        while not loser.resting:
            exchange = traffic.request()
            (lose if exchange.replica is loser else Traffic.answer)(traffic, exchange)
        traffic.loop.advance(rest - 0.01)
        assert loser.resting
        traffic.loop.advance(0.01)
        assert not loser.resting
    assert len(loser.got) == 3 + 8
    for _ in range(2):
        traffic.answer(traffic.request())
    assert (loser.losses, loser.failures) == (0, 0)


def test_the_last_replica_is_not_set_aside_for_long() -> None:
    traffic = Traffic(replace(ROUTE, upstreams=ROUTE.upstreams[:1]))
    for _ in range(10):
        lose(traffic, traffic.request())
        traffic.loop.advance(0.05)
        assert not traffic.replica("a").resting


def test_a_removed_replica_gets_nothing_new_and_is_reported_until_it_is_idle() -> None:
    traffic = Traffic()
    running = [traffic.request() for _ in range(4)]
    on_b = [exchange for exchange in running if where(exchange) == "b"]
    traffic.balancer.change(replace(ROUTE, upstreams=ROUTE.upstreams[:1]))
    assert traffic.draining() == {"b": 2}
    traffic.answer(on_b[0])
    assert traffic.draining() == {"b": 1}
    traffic.answer(on_b[1])
    assert traffic.draining() == {}
    assert [status(exchange) for exchange in on_b] == [200, 200]
    assert traffic.request().attempts == 0  # a is full


def test_a_replica_that_stays_keeps_its_count() -> None:
    traffic = Traffic()
    for _ in range(4):
        traffic.request()
    traffic.balancer.change(replace(ROUTE, max_queue_wait=5.0))
    assert [traffic.replica(name).in_flight for name in "ab"] == [2, 2]


def test_a_deleted_service_refuses_those_who_wait_and_ends_what_runs() -> None:
    traffic = Traffic()
    running = [traffic.request() for _ in range(4)]
    waiting = traffic.request()
    traffic.balancer.close()
    assert (status(waiting), code(waiting)) == (404, "not_found")
    assert sum(traffic.draining().values()) == 4
    for exchange in running:
        traffic.answer(exchange)
    assert traffic.draining() == {}


def split(**weights: int) -> ServiceRoute:
    """One replica for each of these deployments."""
    upstreams = tuple(Upstream(f"/{name}", name, weight, name) for name, weight in weights.items())
    return replace(ROUTE, upstreams=upstreams)


def test_deployments_get_their_shares_evenly_spread() -> None:
    traffic = Traffic(split(a=80, b=20))
    served = []
    for _ in range(100):
        exchange = traffic.request()
        served.append(where(exchange))
        traffic.answer(exchange)
    assert all(served[at : at + 5].count("b") == 1 for at in range(0, 100, 5))


def test_a_full_deployment_leaves_its_turn_to_the_others() -> None:
    traffic = Traffic(split(a=80, b=20))
    assert [where(traffic.request()) for _ in range(4)].count("b") == 2
    waiting = traffic.request()
    traffic.answer(traffic.replica("b").got[0])
    assert where(waiting) == "b"


def test_a_deployment_without_a_replica_gives_its_share_to_the_others() -> None:
    traffic = Traffic(split(a=80, b=20))
    traffic.balancer.change(split(b=20))
    assert {where(traffic.request()) for _ in range(2)} == {"b"}


def test_weight_0_gets_only_what_names_it() -> None:
    traffic = Traffic(split(a=100, b=0))
    assert {where(traffic.request()) for _ in range(2)} == {"a"}
    assert traffic.request().replica is None
    assert where(traffic.request("b", named=True)) == "b"


def test_who_waits_for_one_deployment_holds_up_nobody_else() -> None:
    traffic = Traffic(split(a=50, b=50))
    running = [traffic.request("a") for _ in range(2)] + [traffic.request("b") for _ in range(2)]
    stuck, free = traffic.request("a"), traffic.request()
    traffic.answer(running[3])
    assert stuck.replica is None
    assert where(free) == "b"
    traffic.answer(running[0])
    assert where(stuck) == "a"


def test_among_those_who_wait_the_first_has_the_place_whichever_line_it_is_in() -> None:
    traffic = Traffic(replace(split(a=50), max_concurrent_requests=1))
    running = traffic.request()
    traffic.loop.advance(1)
    first = traffic.request("a")
    traffic.loop.advance(1)
    second = traffic.request()
    traffic.answer(running)
    assert (first.attempts, second.attempts) == (1, 0)


def test_who_is_stuck_to_a_deployment_that_goes_is_served_by_another() -> None:
    traffic = Traffic(replace(split(a=50, b=50), max_concurrent_requests=1))
    running = [traffic.request("a"), traffic.request("b")]
    stuck, named = traffic.request("a"), traffic.request("a", named=True)
    traffic.balancer.change(replace(split(b=50), max_concurrent_requests=1))
    assert (status(named), code(named)) == (503, "unavailable")
    traffic.answer(running[1])
    assert where(stuck) == "b"


def test_a_named_deployment_without_a_replica_is_503_at_once() -> None:
    traffic = Traffic(split(a=50))
    refused = traffic.request("b", named=True)
    assert (status(refused), code(refused)) == (503, "unavailable")


class AnyTraffic(RuleBasedStateMachine):
    """Whatever happens in whatever order: limits hold, and nobody is forgotten or left waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(balancer_module, "Replica", SilentReplica)
        self.requests: list[Exchange] = []
        self.names = "ab"

    @initialize()
    def start(self) -> None:
        self.traffic = Traffic()

    @rule(deployment=st.sampled_from(["", "", "a", "b", "c"]), named=st.booleans())
    def ask(self, deployment: str, named: bool) -> None:
        self.requests.append(self.traffic.request(deployment, named=named))

    @rule(number=st.integers(0, 20), how=st.sampled_from(["answer", "lost", "unread", "refused"]))
    def settle(self, number: int, how: str) -> None:
        """A replica, or the lack of one, decides about a request that is at it."""
        running = self.running()
        if not running:
            return
        exchange = running[number % len(running)]
        balancer = self.traffic.balancer
        if how == "answer":
            self.traffic.answer(exchange)
        elif how == "lost":
            balancer.lost(exchange, "replica_lost", "it ended")
        elif how == "unread":
            balancer.unread(exchange)
        else:
            balancer.unreachable(exchange, "connection refused")

    @rule(number=st.integers(0, 20))
    def leave(self, number: int) -> None:
        open_requests = [exchange for exchange in self.requests if not exchange.settled]
        if open_requests:
            open_requests[number % len(open_requests)].forsake()

    @rule(seconds=st.sampled_from([0.05, 0.5, 4.0, 30.0]))
    def wait(self, seconds: float) -> None:
        self.traffic.loop.advance(seconds)

    @rule(names=st.sampled_from(["", "a", "b", "ab", "abc", "c"]))
    def change(self, names: str) -> None:
        self.names = names
        weights = {"a": 90, "b": 10, "c": 0}
        upstreams = tuple(Upstream(f"/{name}", name, weights[name], name) for name in names)
        self.traffic.balancer.change(replace(ROUTE, upstreams=upstreams))

    def running(self) -> list[Exchange]:
        """Requests that are at a replica: sent there, and not spoken of since."""
        balancer = self.traffic.balancer
        replicas = [*balancer._known.values(), *balancer._retired]
        return [
            exchange
            for exchange in self.requests
            if exchange.replica in replicas
            and not exchange.over
            and exchange in balancer._running._due
        ]

    @invariant()
    def limits_hold(self) -> None:
        for replica in self.traffic.balancer._known.values():
            assert 0 <= replica.in_flight <= ROUTE.max_concurrent_requests

    @invariant()
    def counts_are_true(self) -> None:
        balancer = self.traffic.balancer
        counted = sum(r.in_flight for r in {*balancer._known.values(), *balancer._retired})
        assert counted == len(self.running())

    @invariant()
    def nobody_waits_while_a_replica_is_free(self) -> None:
        balancer = self.traffic.balancer
        limit = ROUTE.max_concurrent_requests
        for exchange in balancer._waiting:
            pool = balancer._pools.get(exchange.deployment)
            replicas = pool.replicas if pool else balancer._active
            assert exchange.named or not any(
                r.requests.all() < limit and not r.resting for r in replicas
            )

    @invariant()
    def everybody_is_somewhere(self) -> None:
        running = self.running()
        for exchange in self.requests:
            waiting = exchange in self.traffic.balancer._waiting
            assert waiting + (exchange in running) + (exchange.over or exchange.settled) >= 1

    def teardown(self) -> None:
        self.traffic.loop.advance(1000)
        assert all(exchange.settled for exchange in self.requests)
        self.patch.undo()


TestAnyTraffic = AnyTraffic.TestCase
TestAnyTraffic.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


class Rung(Board):
    """A board whose bells a test hears."""

    def __init__(self) -> None:
        super().__init__()
        self.rings: list[int] = []

    def ring(self, column: int | None = None) -> None:
        self.rings += self.columns() if column is None else [column]


class Processes:
    """The same service in two processes of a gateway."""

    def __init__(self, route: ServiceRoute = ROUTE) -> None:
        self.loop = ManualLoop()
        self.board = Rung()
        self.all = [Traffic(route, self.board, self.loop) for _ in range(2)]
        self.hear()

    def hear(self) -> None:
        """Have everybody who was rung for look again, until it is quiet."""
        while self.board.rings:
            column = self.board.rings.pop(0)
            for traffic in self.all:
                if traffic.seat.column == column:
                    traffic.seat.look()
                    traffic.balancer.look()

    def at(self, replica: str) -> int:
        return sum(traffic.replica(replica).in_flight for traffic in self.all)


ONE_AT_A_TIME = replace(ROUTE, max_concurrent_requests=1)


class TestProcesses:
    def test_a_replica_gets_no_more_than_its_limit_from_all(self) -> None:
        processes = Processes()
        for number in range(6):
            processes.all[number % 2].request()
        assert [processes.at("a"), processes.at("b")] == [2, 2]

    def test_the_fewest_in_flight_are_those_of_all(self) -> None:
        one, two = Processes(replace(ROUTE, max_concurrent_requests=10)).all
        where_first = where(one.request())
        assert where(two.request()) != where_first

    def test_a_place_that_one_frees_is_for_who_waits_at_another(self) -> None:
        processes = Processes()
        one, two = processes.all
        running = [one.request() for _ in range(4)]
        waiting = two.request()
        assert waiting.replica is None
        one.answer(running[1])
        processes.hear()
        assert where(waiting) == where(running[1])

    def test_who_waits_longest_is_next_wherever_it_waits(self) -> None:
        processes = Processes(ONE_AT_A_TIME)
        one, two = processes.all
        running = [one.request() for _ in range(2)]
        waiting = []
        for number in range(3):
            processes.loop.advance(1)
            waiting.append(processes.all[number % 2].request())
        served = []
        for _ in range(3):
            at, exchange = next(
                (t, e) for t in (one, two) for e in running if e.owner is t.balancer
            )
            at.answer(exchange)
            running.remove(exchange)
            processes.hear()
            new = [e for e in waiting if e.replica is not None and e not in served]
            served += new
            running += new
        assert served == waiting

    def test_who_waits_for_one_deployment_at_another_process_has_its_places_alone(self) -> None:
        processes = Processes(replace(split(a=50, b=50), max_concurrent_requests=1))
        one, two = processes.all
        running = {where(exchange): exchange for exchange in (one.request(), one.request())}
        stuck = two.request("a")
        processes.loop.advance(1)
        free = one.request()
        one.answer(running["b"])
        assert where(free) == "b"
        late = one.request()
        one.answer(running["a"])
        processes.hear()
        assert where(stuck) == "a"
        assert late.replica is None

    def test_who_comes_later_does_not_overtake(self) -> None:
        processes = Processes(ONE_AT_A_TIME)
        one, two = processes.all
        running = [one.request() for _ in range(2)]
        waiting = two.request()
        processes.loop.advance(1)
        one.answer(running[0])
        late = one.request()
        processes.hear()
        assert waiting.replica is not None
        assert late.replica is None

    def test_a_process_that_does_not_take_its_place_is_not_waited_for(self) -> None:
        processes = Processes(ONE_AT_A_TIME)
        one, two = processes.all
        running = [one.request() for _ in range(2)]
        stopped = two.request()
        processes.loop.advance(1)
        late = one.request()
        one.answer(running[0])
        assert late.replica is None
        processes.loop.advance(0.02)  # the other one hears nothing
        assert late.replica is not None
        assert stopped.replica is None

    def test_all_who_are_stuck_to_a_deployment_that_goes_are_served_by_another(self) -> None:
        processes = Processes(replace(split(a=50, b=50), max_concurrent_requests=1))
        one = processes.all[0]
        running = {where(exchange): exchange for exchange in (one.request(), one.request())}
        stuck = [one.request("a"), one.request("a")]
        one.balancer.change(replace(split(b=50), max_concurrent_requests=1))
        one.answer(running["b"])
        assert where(stuck[0]) == "b"
        one.answer(stuck[0])
        assert where(stuck[1]) == "b"

    def test_all_who_wait_for_a_service_that_is_deleted_are_told(self) -> None:
        processes = Processes(replace(split(a=50, b=50), max_concurrent_requests=1))
        one = processes.all[0]
        for _ in range(2):
            one.request()
        waiting = [one.request("a"), one.request("a"), one.request()]
        one.balancer.close()
        assert [status(exchange) for exchange in waiting] == [404] * 3
        assert len(one.balancer._waiting) == 0

    def test_the_queue_is_bounded_over_all(self) -> None:
        one, two = Processes().all
        for _ in range(4):
            one.request()
        waiting = [one.request(), two.request(), one.request()]
        assert not any(exchange.settled for exchange in waiting)
        assert code(two.request()) == "overloaded"

    def test_the_place_of_one_that_is_gone_is_free(self) -> None:
        processes = Processes()
        one, two = processes.all
        for _ in range(4):
            one.request()
        waiting = two.request()
        one.seat.leave()
        processes.all.remove(one)
        processes.hear()
        assert waiting.replica is not None

    def test_a_replica_that_drains_is_told_for_all(self) -> None:
        processes = Processes()
        one, two = processes.all
        one.request()
        two.request()
        for traffic in processes.all:
            traffic.balancer.change(replace(ROUTE, upstreams=()))
        assert two.draining() == {"a": 1, "b": 1}


class AnyTrafficOfTwo(AnyTraffic):
    """The same in two processes: the rules are for one, and now and then for the other."""

    @initialize()
    def start(self) -> None:
        self.processes = Processes()
        self.traffic, self.other = self.processes.all
        self.others_requests: list[Exchange] = []
        for _ in range(2):
            self.change("ab")
            self.turn_to_the_other()

    @rule()
    def turn_to_the_other(self) -> None:
        self.traffic, self.other = self.other, self.traffic
        self.requests, self.others_requests = self.others_requests, self.requests

    @invariant()
    def limits_hold(self) -> None:
        self.processes.hear()
        in_flight: Counter[str] = Counter()
        for traffic in self.processes.all:
            for replica in traffic.balancer._known.values():
                in_flight[replica.upstream.replica] += replica.in_flight
        assert all(count <= ROUTE.max_concurrent_requests for count in in_flight.values())

    @invariant()
    def nobody_waits_while_a_replica_is_free(self) -> None:
        self.traffic.loop.advance(0.02)
        self.processes.board.ring()  # as often as each process looks by itself
        self.processes.hear()
        super().nobody_waits_while_a_replica_is_free()

    def teardown(self) -> None:
        self.turn_to_the_other()
        for _ in range(2):
            self.processes.hear()
            self.traffic.loop.advance(1000)
        assert all(exchange.settled for exchange in self.others_requests)
        super().teardown()


TestAnyTrafficOfTwo = AnyTrafficOfTwo.TestCase
TestAnyTrafficOfTwo.settings = TestAnyTraffic.settings
