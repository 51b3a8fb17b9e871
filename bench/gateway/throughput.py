"""Requests a second through a front to two replicas, over those that the two answer directly.

Direct callers have half of the connections at each replica, and show no key. The machine is the
same for all, so what the front and the client use the replicas have not; and what comes through a
front comes in smaller groups, which a replica that batches answers at a higher cost each. HAProxy
takes turns with us to show how much of that is ours.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from bench._race import CONNECTIONS, ROUNDS, SECONDS, figure, ratio
from bench.gateway.fronts import KEY, ours, started_if_there
from bench.gateway.peers import HAPROXY
from bench.gateway.replicas import Replica, replicas
from bench.runtime.client import Wire
from bench.runtime.ours import MODELYARD, SCRIPTED
from bench.runtime.servers import Server
from bench.runtime.workloads import WORKLOADS, make_models

_OURS = ours(processes=2)
"""As it is started where nobody says otherwise."""
_IRIS = WORKLOADS[0]
_CASES = ((MODELYARD, "iris, no script"), (SCRIPTED, "iris, the original's script"))


def run() -> Iterator[dict[str, Any]]:
    """The figures."""
    make_models()
    for server, title in _CASES:
        yield from _figures(server, title)


def _figures(server: Server, title: str) -> Iterator[dict[str, Any]]:
    with ExitStack() as stack:
        pair = stack.enter_context(replicas(server, _IRIS, 2))
        sockets, wire = [one.socket for one in pair], _through(pair[0].direct.wire)
        fronts = started_if_there(stack, (_OURS, HAPROXY), sockets, wire)
        direct = []
        for _ in range(ROUNDS):
            direct.append(_direct(pair))
            for front in fronts:
                front.round(SECONDS)
    yield figure(f"{title}, direct", statistics.median(direct), "1/s")
    for front in fronts:
        yield figure(f"{title}, through {front.name}", statistics.median(front.rates), "1/s")
        goal = ">= 0.5" if front.name == _OURS.name else ""
        over = ratio(front.rates, direct)
        yield figure(f"{title}, through {front.name} over direct", over, "ratio", goal)


def _through(wire: Wire) -> Wire:
    fields = {**wire.headers, "Authorization": f"Bearer {KEY.text}"}
    return Wire(f"/services/digits{wire.path}", wire.body, fields)


def _direct(pair: list[Replica]) -> float:
    """Requests per second of both at once."""
    with ThreadPoolExecutor() as pool:
        half = CONNECTIONS // 2
        for done in [pool.submit(one.direct.round, SECONDS, half) for one in pair]:
            done.result()
    return sum(one.direct.rates[-1] for one in pair)
