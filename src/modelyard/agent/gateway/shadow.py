"""Copies of requests for a candidate that nobody waits for: its answers are compared, and dropped.

A copy is made when its original has been answered, so the two never meet, and only of what is at
hand: a body that was kept, an answer that was whole. There are few copies at a time, none waits for
a place, and those that find none are left out.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

from modelyard.agent.gateway.config import ServiceRoute
from modelyard.agent.gateway.counters import Counters, Figures
from modelyard.agent.gateway.deadlines import Deadlines
from modelyard.agent.gateway.pools import Pool
from modelyard.agent.gateway.relaying import AnswerBody
from modelyard.agent.gateway.upstream import Exchange, Replica
from modelyard_runtime.capture.wanted import FIELD

EQUAL, DIFFERENT, FAILED, LEFT_OUT = "equal", "different", "failed", "left_out"
_MOST_COPIES = 8  # at a time, in one process: each keeps a request and the answer to its original
_LONGEST_JSON = 64 << 10  # bytes of an answer that is read when it differs in its spelling only
_WHOLE = 100
_CAPTURE = b"\r\n%b: " % FIELD
_MARK = b"x-modelyard-shadow: true\r\n\r\n"
"""Tells a scoring script that nobody gets its answer; the end of the head."""


def label(deployment: str, found: str) -> str:
    """Where copies to a deployment are counted of which this was found."""
    return f"{deployment.replace('-', '')[:24]}:{found}"


def compared(
    figures: Mapping[tuple[str, str], Figures], service: str, deployment: str
) -> dict[str, int]:
    """How many copies there were to a deployment, by what was found of them."""
    none = Figures()
    return {
        found: figures.get((service, label(deployment, found)), none).requests
        for found in (EQUAL, DIFFERENT, FAILED, LEFT_OUT)
    }


class _Copy(Exchange):
    """A copy of a request, and the answer to its original."""

    __slots__ = ("answer", "expected")

    def __init__(self, owner: Shadow, original: Exchange, status: int, answer: bytes) -> None:
        super().__init__(owner, original.request_id, _marked(original.head), original.body)
        self.expected = status
        self.answer = answer
        self.forsake()  # nobody waits for it: an answer that comes in parts is not read to its end


class Shadow:
    """The copies for one candidate.

    Args:
        route: Names the candidate, and the share of the requests that are copied.
        counters: Where it is counted what was found.
        loop: Runs everything.
        freed: Is told when a copy has left its replica.
    """

    def __init__(
        self,
        route: ServiceRoute,
        counters: Counters,
        loop: asyncio.AbstractEventLoop,
        freed: Callable[[], None],
    ) -> None:
        self.candidate = route.candidate
        self._series = {
            found: counters.of(route.name, label(route.candidate, found))
            for found in (EQUAL, DIFFERENT, FAILED, LEFT_OUT)
        }
        self._loop = loop
        self._freed = freed
        self._due = 0
        self._copies = 0
        self._pool = Pool("")

    def follow(self, route: ServiceRoute, pool: Pool | None) -> None:
        """Copy by another route from now on, to these replicas."""
        self._share = route.shadow
        self._limit = route.max_concurrent_requests
        self._pool = pool or Pool("")
        self._clock = Deadlines(route.scoring_timeout, self._ran_too_long, self._loop)

    def offer(self, original: Exchange, status: int, answer: bytes) -> None:
        """Copy a request that has been answered, if it is its turn."""
        at_hand = original.rest is None and not original.passed_on and not original.bodyless
        if status >= 500 or original.named or not at_hand or not self._pool.replicas:
            return
        self._due += self._share
        if self._due < _WHOLE:
            return
        self._due -= _WHOLE
        replica = self._pool.take(self._limit) if self._copies < _MOST_COPIES else None
        if replica is None:
            self._series[LEFT_OUT].refused(503)
            return
        self._copies += 1
        copy = _Copy(self, original, status, answer)
        copy.sent_at = monotonic()
        copy.clock = self._clock
        copy.clock.add(copy)
        replica.send(copy)

    def answered(
        self, exchange: Exchange, status: int, fields: bytes, body: bytes, length: int | None
    ) -> None:
        """Compare."""
        assert isinstance(exchange, _Copy)
        if status >= 500:
            self._end(exchange, FAILED, status)
        else:
            same = status == exchange.expected and _means_the_same(body, exchange.answer)
            self._end(exchange, EQUAL if same else DIFFERENT, status)

    def begun(
        self, exchange: Exchange, status: int, fields: bytes, body: AnswerBody, length: int | None
    ) -> None:
        """Never: the copy has no client."""

    def moved(self, exchange: Exchange) -> None:
        """Never: nothing is passed on."""

    def held(self, exchange: Exchange) -> None:
        """Never: nothing is passed on."""

    def ended(self, exchange: Exchange) -> None:
        """The answer comes in parts, as that to its original did not."""
        self._end(exchange, DIFFERENT, 200)

    def unreachable(self, exchange: Exchange, reason: str) -> None:
        """There is no connection to the replica."""
        self._end(exchange, FAILED, 503)

    def unread(self, exchange: Exchange) -> None:
        """The replica closed the connection."""
        self._end(exchange, FAILED, 503)

    def lost(self, exchange: Exchange, code: str, reason: str) -> None:
        """No usable answer came."""
        self._end(exchange, FAILED, 502)

    def abandoned(self, exchange: Exchange) -> None:
        """It never had a client."""

    def _ran_too_long(self, exchange: Exchange) -> None:
        if exchange.connection is not None:
            exchange.connection.close()
        self._end(exchange, FAILED, 504)

    def _end(self, exchange: Exchange, found: str, status: int) -> None:
        replica: Replica | None = exchange.replica
        assert replica is not None
        assert exchange.clock is not None
        exchange.clock.discard(exchange)
        exchange.over = True
        replica.requests.add(-1)
        self._copies -= 1
        self._series[found].answered(status, monotonic() - exchange.sent_at)
        self._freed()


def _marked(head: bytes) -> bytes:
    """The head of a copy, which is not to be recorded: nobody was answered."""
    start = head.find(_CAPTURE)
    if start >= 0:
        head = head[:start] + head[head.index(b"\r\n", start + 2) :]
    return head[:-2] + _MARK


def _means_the_same(one: bytes, other: bytes) -> bool:
    if one == other:
        return True
    if max(len(one), len(other)) > _LONGEST_JSON:
        return False
    try:
        values: list[Any] = [json.loads(text) for text in (one, other)]
    except (ValueError, RecursionError):
        return False
    return bool(values[0] == values[1])
