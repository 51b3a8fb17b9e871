"""The traffic of one service: which replica gets a request, which requests wait, what ends them.

A request goes to the deployment whose turn it is by the weights, or to the only one it may go to,
and there to the replica with the fewest in flight. When all are at the service's limit it waits,
first in, first out, for a bounded time among a bounded number. All of that but the turns holds for
all processes of the gateway together: each tells the others, on the board, what it has in hand.
"""

from __future__ import annotations

import asyncio
import logging
from time import monotonic

from modelyard.agent.gateway.answers import own_answer, try_again
from modelyard.agent.gateway.board import Seat
from modelyard.agent.gateway.capturing import Recording, told_again
from modelyard.agent.gateway.config import ServiceRoute, Upstream
from modelyard.agent.gateway.counters import Counters
from modelyard.agent.gateway.deadlines import Deadlines
from modelyard.agent.gateway.loads import at_replica
from modelyard.agent.gateway.pools import Pool, Shares, stuck_to
from modelyard.agent.gateway.relaying import AnswerBody
from modelyard.agent.gateway.retrying import RetryBudget
from modelyard.agent.gateway.shadow import Shadow
from modelyard.agent.gateway.upstream import Exchange, Replica
from modelyard.agent.gateway.waiting import WaitingLines
from modelyard_runtime.http.server import Response

_ATTEMPTS = 3  # how often a request is sent to replicas that end the connection without reading it
_FIRST_REST = 0.1  # seconds that a replica is set aside when it cannot be reached; then doubled
_LONGEST_REST = 1.0
_DOUBLINGS = 10
_LOSSES = 3  # requests in a row that a replica loses before it is set aside, too
_LONGEST_REST_OF_A_LOSER = 10.0
_LAST_REST = 0.05  # the same for the last replica, which is never set aside for long
_BEYOND_GOOD = 300  # statuses below it are those of good answers

_FIELDS = b"%b%bx-request-id: %b\r\nx-prediction-id: %b\r\n"
_NO_FIELDS: list[tuple[bytes, bytes]] = []

_log = logging.getLogger("modelyard.gateway")


class Balancer:
    """Sends the requests of one service to its replicas, and is told what becomes of them."""

    def __init__(
        self,
        route: ServiceRoute,
        loop: asyncio.AbstractEventLoop,
        counters: Counters,
        seat: Seat,
    ) -> None:
        self.route = route
        self.own = counters.of(route.name)
        """Where answers are counted that no replica has a part in."""
        self._loop = loop
        self._counters = counters
        self._seat = seat
        self._known: dict[tuple[str, str, str], Replica] = {}
        self._active: list[Replica] = []
        """Those of deployments with a share."""
        self._retired: list[Replica] = []
        self._pools: dict[str, Pool] = {}
        self._shares = Shares(())
        self._shadow: Shadow | None = None
        self._waiting = WaitingLines(route.name, seat, loop, self._serve_waiting)
        self._budget = RetryBudget()
        self._change_clocks()
        self.change(route)

    def change(self, route: ServiceRoute) -> None:
        """Serve by another route from now on; what has begun ends by the old one's times."""
        old, self.route = self.route, route
        if _times(old) != _times(route):
            self._change_clocks()
        wanted = {_identity(upstream): upstream for upstream in route.upstreams}
        for identity in self._known.keys() - wanted.keys():
            self._retire(self._known.pop(identity))
        for identity in wanted.keys() - self._known.keys():
            self._known[identity] = self._revive(identity) or self._meet(wanted[identity])
        self._active = [self._known[_identity(u)] for u in route.upstreams if u.weight]
        self._fill_pools(route)
        self._follow_shadow(route)
        self._free_the_stuck()
        self._serve_waiting()
        if old.waking_time and not route.waking_time and not self._active:
            self._refuse_waiting()

    def close(self) -> None:
        """The service is gone: refuse what waits; what is in flight ends as it would have."""
        while self._known:
            self._retire(self._known.popitem()[1])
        self._active = []
        self._pools, self._shares, self._shadow = {}, Shares(()), None
        for exchange in self._waiting:
            self._stop_waiting(exchange)
            message = f"service `{self.route.name}` has been deleted"
            self.own.refused(404)
            self._end(exchange, own_answer(404, "not_found", message, exchange.request_id))

    def look(self) -> None:
        """Look again whether what waits can go, and forget replicas that have drained."""
        self._budget.look(self._loop.time())
        self._serve_waiting()
        for replica in [replica for replica in self._retired if not replica.in_flight]:
            self._retired.remove(replica)
            self._seat.drop(replica.requests)

    def forget(self) -> bool:
        """Let go of the board, if nothing of a closed service is left; whether that is so."""
        self.look()
        is_idle = not self._waiting and not self._retired
        if is_idle:
            self._waiting.leave()
        return is_idle

    def stuck_to(self, value: bytes) -> str:
        """The deployment that callers with this value stay with; empty: none is ready."""
        return stuck_to(value, self._shares.pools)

    def submit(self, exchange: Exchange) -> None:
        """See to it that a request is answered: by a replica, perhaps after a wait, or by us."""
        self._budget.asked += 1
        replica = self._take(exchange)
        if replica is not None:
            self._send(exchange, replica)
        else:
            self._enqueue(exchange)

    def refuse(self, exchange: Exchange, code: str, reason: str) -> None:
        """Answer 503: no replica has the request."""
        message = f"service `{self.route.name}` cannot take the request: {reason}"
        self.own.refused(503)
        self._end(exchange, try_again(code, message, exchange.request_id))

    def answered(
        self, exchange: Exchange, status: int, fields: bytes, body: bytes, length: int | None
    ) -> None:
        """Pass the replica's answer on."""
        replica = self._leave(exchange)
        replica.failures = replica.losses = 0
        replica.series.answered(status, monotonic() - exchange.sent_at)
        if self.route.judged and status < _BEYOND_GOOD and exchange.head.startswith(b"POST "):
            replica.series.shapes.look_at(body)
        encoded = _FIELDS % (fields, replica.field, exchange.request_id, exchange.prediction_id)
        self._end(exchange, Response(status, body, _NO_FIELDS, length, encoded))
        if self._shadow is not None:
            self._shadow.offer(exchange, status, body)

    def begun(
        self, exchange: Exchange, status: int, fields: bytes, body: AnswerBody, length: int | None
    ) -> None:
        """Pass the answer on while it comes; the request stays at its replica until the end."""
        assert exchange.replica is not None
        exchange.replica.failures = exchange.replica.losses = 0
        exchange.status, exchange.took = status, monotonic() - exchange.sent_at
        encoded = _FIELDS % (
            fields,
            exchange.replica.field,
            exchange.request_id,
            exchange.prediction_id,
        )
        response = Response(status, body, _NO_FIELDS, length, encoded)
        if exchange.recording is not None:
            _record(exchange, exchange.recording, response)
        exchange.send(response)

    def moved(self, exchange: Exchange) -> None:
        """The time of a request that moves begins anew."""
        assert exchange.clock is not None
        exchange.clock.discard(exchange)
        exchange.clock.add(exchange)

    def held(self, exchange: Exchange) -> None:
        """Time in which the client takes nothing is not the replica's."""
        assert exchange.clock is not None
        exchange.clock.discard(exchange)

    def ended(self, exchange: Exchange) -> None:
        """Let the next request have its place."""
        replica = self._leave(exchange)
        if exchange.status:
            replica.series.answered(exchange.status, exchange.took)
        self._over(exchange)

    def unreachable(self, exchange: Exchange, reason: str) -> None:
        """Set the replica aside for a while, and send the request elsewhere."""
        replica = self._leave(exchange)
        if not replica.failures:  # the first in a row
            self._report(exchange, replica, f"it cannot be reached: {reason}")
        if not replica.resting:
            self._set_aside(replica, _LONGEST_REST)
        self._send_again(exchange, self._take(exchange))

    def unread(self, exchange: Exchange) -> None:
        """Send the request elsewhere, or else over a new connection to the same replica."""
        replica = self._leave(exchange)
        if exchange.attempts < _ATTEMPTS:
            self._send_again(exchange, self._take(exchange, replica) or self._take(exchange))
        else:
            self.refuse(exchange, "unavailable", "its replicas close their connections")

    def lost(self, exchange: Exchange, code: str, reason: str) -> None:
        """Answer 502: it may have run, so it is not sent again, unless that does no harm."""
        replica = self._leave(exchange)
        replica.series.answered(502, monotonic() - exchange.sent_at)
        self._report(exchange, replica, reason)
        replica.losses += 1
        if replica.losses >= _LOSSES and not replica.resting:
            self._set_aside(replica, _LONGEST_REST_OF_A_LOSER)
        if self._may_repeat(exchange):
            exchange.head = told_again(exchange.head, exchange.attempts + 1)
            self._send_again(exchange, self._take(exchange, replica) or self._take(exchange))
            return
        message = f"a replica of service `{self.route.name}` failed: {reason}"
        self._end(exchange, own_answer(502, code, message, exchange.request_id))

    def _may_repeat(self, exchange: Exchange) -> bool:
        """Whether it may be sent once more: all of it is here, and nothing of an answer is out."""
        return (
            exchange.repeatable
            and not exchange.passed_on
            and not exchange.settled
            and exchange.attempts < _ATTEMPTS
            and self._budget.spend()
        )

    def abandoned(self, exchange: Exchange) -> None:
        """Free its place in the queue; what is at a replica ends there as it would have.

        Unless the rest of its body will never come.
        """
        if self._stop_waiting(exchange):
            exchange.over = True
        elif exchange.passed_on and exchange.connection is not None:
            exchange.connection.close()
            self.ended(exchange)

    def _take(self, exchange: Exchange, avoid: Replica | None = None) -> Replica | None:
        """A replica that has a place for it, if there is one; the place is taken."""
        replica = self._choose(exchange, avoid)
        if (
            replica is not None
            and self._seat.peers
            and self._waiting.gives_way(exchange, replica.upstream.deployment)
        ):
            replica.requests.add(-1)
            return None
        return replica

    def _choose(self, exchange: Exchange, avoid: Replica | None) -> Replica | None:
        limit = self.route.max_concurrent_requests
        pool = self._pools.get(exchange.deployment)
        if pool is not None:
            return pool.take(limit, avoid)
        return None if exchange.named else self._shares.take(limit, avoid)

    def _fill_pools(self, route: ServiceRoute) -> None:
        """Sort the replicas by deployment; pools that stay go on where they are."""
        known = self._pools
        self._pools = {}
        for upstream in route.upstreams:
            name = upstream.deployment
            pool = self._pools.get(name)
            if pool is None:
                pool = self._pools[name] = known.get(name) or Pool(name)
                pool.replicas = []
            pool.weight = upstream.weight
            pool.replicas.append(self._known[_identity(upstream)])
        self._shares = Shares(self._pools.values())
        self._waiting.share(self._pools)

    def _follow_shadow(self, route: ServiceRoute) -> None:
        if not route.shadow:
            self._shadow = None
            return
        if self._shadow is None or self._shadow.candidate != route.candidate:
            self._shadow = Shadow(route, self._counters, self._loop, self._freed)
        self._shadow.follow(route, self._pools.get(route.candidate))

    def _free_the_stuck(self) -> None:
        """Whose deployment has gone may go to any other, unless it was asked for by name."""
        for exchange in self._waiting:
            lost = exchange.deployment and exchange.deployment not in self._pools
            if lost and (self._active or not exchange.named) and self._stop_waiting(exchange):
                self._enqueue(exchange)

    def _send(self, exchange: Exchange, replica: Replica) -> None:
        """Send a request to a replica at which it has a place."""
        exchange.sent_at = monotonic()
        exchange.clock = clock = self._running
        clock.add(exchange)
        replica.send(exchange)

    def _send_again(self, exchange: Exchange, replica: Replica | None) -> None:
        if replica is not None:
            self._send(exchange, replica)
        else:
            self._enqueue(exchange)
        self._freed()

    def _leave(self, exchange: Exchange) -> Replica:
        """The exchange is no longer at its replica."""
        replica, clock = exchange.replica, exchange.clock
        assert replica is not None
        assert clock is not None
        clock.discard(exchange)
        replica.requests.add(-1)
        return replica

    def _end(self, exchange: Exchange, response: Response) -> None:
        if not response.encoded:  # an answer of our own
            response.headers.append((b"x-prediction-id", exchange.prediction_id))
        if exchange.recording is not None:
            _record(exchange, exchange.recording, response)
        exchange.send(response)
        self._over(exchange)

    def _over(self, exchange: Exchange) -> None:
        exchange.over = True
        self._freed()

    def _freed(self) -> None:
        """A place may be free: for somebody who waits here, or in other processes."""
        if self._waiting:
            self._serve_waiting()
        if self._seat.peers:
            self._waiting.ring_others()

    def _refuse_for_shortage(self, exchange: Exchange) -> None:
        if not self._active:
            self.refuse(exchange, "unavailable", self.route.unavailable or "no replica is ready")
        elif all(replica.failures for replica in self._active):
            reason = self.route.unavailable or "none of its replicas can be reached"
            self.refuse(exchange, "unavailable", reason)
        else:
            self.refuse(exchange, "overloaded", "too many requests (overloaded)")

    def _enqueue(self, exchange: Exchange) -> None:
        route = self.route
        is_ready = exchange.deployment in self._pools
        if not is_ready and not exchange.named:
            exchange.deployment = ""  # here alone: one that waits is found by it in its line
        if exchange.named and self._active and not is_ready:
            self.refuse(exchange, "unavailable", "no replica of that deployment is ready")
            return
        full = self._waiting.everywhere.all() >= route.max_queued_requests and not exchange.attempts
        patience = self._patience if self._active or is_ready else self._sleep
        if not patience.seconds or full:
            self._refuse_for_shortage(exchange)
            return
        if exchange.waits_since:  # it has waited before, and its time runs on
            self._loop.call_at(exchange.patience_ends, self._waited_too_long, exchange)
        else:
            exchange.waits_since = self._loop.time()
            exchange.patience_ends = exchange.waits_since + patience.seconds
            exchange.clock = patience
            exchange.clock.add(exchange)
        # One that had its turn, but that no replica took, is first in line.
        self._waiting.add(exchange, first=exchange.attempts > 0)
        if self._seat.peers:
            self._serve_waiting()  # a place may have become free since there was none

    def _stop_waiting(self, exchange: Exchange) -> bool:
        """Whether it was waiting."""
        if not self._waiting.remove(exchange):
            return False
        assert exchange.clock is not None
        exchange.clock.discard(exchange)
        self.own.left_queue(self._loop.time() - exchange.waits_since)
        return True

    def _serve_waiting(self) -> None:
        full: set[str] = set()
        while (exchange := self._waiting.next(full)) is not None:
            replica = self._take(exchange)
            if replica is None:
                full.add(exchange.deployment)
            elif self._stop_waiting(exchange):
                self._send(exchange, replica)

    def _refuse_waiting(self) -> None:
        """No replica is coming: those who wait for the first one are told so."""
        for exchange in self._waiting:
            self._waited_too_long(exchange)

    def _waited_too_long(self, exchange: Exchange) -> None:
        if self._stop_waiting(exchange):
            self._refuse_for_shortage(exchange)

    def _ran_too_long(self, exchange: Exchange) -> None:
        """Answer 504. What the replica still answers is nobody's, so the connection is closed."""
        replica = self._leave(exchange)
        replica.series.answered(504, monotonic() - exchange.sent_at)
        if exchange.connection is not None:
            exchange.connection.close()
        message = (
            f"service `{self.route.name}` did not answer within its scoring timeout "
            f"of {self.route.scoring_timeout:g} s"
        )
        self._end(exchange, own_answer(504, "scoring_timeout", message, exchange.request_id))

    def _set_aside(self, replica: Replica, longest: float) -> None:
        """Send it nothing for a while, which is longer the more often this was done in a row."""
        if any(not other.resting and other is not replica for other in self._active):
            rest = min(_FIRST_REST * 2.0 ** min(replica.failures, _DOUBLINGS), longest)
        else:
            rest = _LAST_REST
        replica.failures += 1
        replica.resting = True
        self._loop.call_later(rest, self._rested, replica)

    def _rested(self, replica: Replica) -> None:
        replica.resting = False
        self._serve_waiting()

    def _meet(self, upstream: Upstream) -> Replica:
        series = self._counters.of(self.route.name, upstream.deployment)
        name = at_replica(self.route.name, upstream)
        return Replica(upstream, series, self._seat.tally(name, upstream.replica))

    def _revive(self, identity: tuple[str, str, str]) -> Replica | None:
        """A replica that has not drained yet and is wanted again."""
        for replica in self._retired:
            if _identity(replica.upstream) == identity:
                self._retired.remove(replica)
                replica.retired = False
                return replica
        return None

    def _retire(self, replica: Replica) -> None:
        replica.retire()
        self._retired.append(replica)

    def _change_clocks(self) -> None:
        self._patience = Deadlines(self.route.max_queue_wait, self._waited_too_long, self._loop)
        self._sleep = Deadlines(self.route.waking_time, self._waited_too_long, self._loop)
        self._running = Deadlines(self.route.scoring_timeout, self._ran_too_long, self._loop)

    def _report(self, exchange: Exchange, replica: Replica, reason: str) -> None:
        _log.warning(
            "replica %s of service `%s`: %s (request %s)",
            replica.upstream.replica,
            self.route.name,
            reason,
            exchange.request_id.decode("latin-1"),
        )


def _record(exchange: Exchange, recording: Recording, response: Response) -> None:
    body = exchange.body if exchange.rest is None else None
    replica = exchange.replica
    upstream = None if replica is None else replica.upstream
    place = ("", "") if upstream is None else (upstream.deployment, upstream.replica)
    recording.answered(response, exchange.prediction_id, exchange.request_id, body, place)


def _times(route: ServiceRoute) -> tuple[float, float, float]:
    return route.max_queue_wait, route.waking_time, route.scoring_timeout


def _identity(upstream: Upstream) -> tuple[str, str, str]:
    return upstream.socket, upstream.deployment, upstream.replica
