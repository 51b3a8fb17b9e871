"""p99 with one slow replica beside two fast ones: least in flight, and HAProxy's round robin.

Each replica works on one request after the other; the slow one takes ten times as long, and could
not do a third of what is asked.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from bench._race import Racer, figure, ratio
from bench.gateway.clients import Steady
from bench.gateway.fronts import OURS, WIRE, echoes, started_if_there
from bench.gateway.peers import HAPROXY, haproxy

_MILLISECONDS = (2, 2, 20)
_RATE = 300.0
_ROUNDS, _SECONDS = 3, 5.0
_ROUND_ROBIN = haproxy("roundrobin")


def run() -> Iterator[dict[str, Any]]:
    """The figures."""
    with ExitStack() as stack:
        replicas = stack.enter_context(echoes(*_MILLISECONDS))
        fronts = started_if_there(stack, (OURS, HAPROXY, _ROUND_ROBIN), replicas)
        failed: dict[str, int] = dict.fromkeys((front.name for front in fronts), 0)
        for _ in range(_ROUNDS):
            for front in fronts:
                failed[front.name] += _round(front)
    for front in fronts:
        yield figure(f"{front.name}, failed requests", failed[front.name], "requests")
        yield figure(f"{front.name}, p99", statistics.median(front.p99s), "ms")
    for front in fronts:
        if front.name == _ROUND_ROBIN.name:
            over = ratio(fronts[0].p99s, front.p99s)
            yield figure("gateway over round robin, p99", over, "ratio", "<= 0.5")


def _round(front: Racer) -> int:
    """How many requests failed."""
    with Steady(front.port, WIRE, _RATE).asking() as clients:
        time.sleep(_SECONDS)
    front.p99s.append(clients.p99())
    return len(clients.failures)
