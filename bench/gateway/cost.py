"""CPU that a front adds to each request before two bare echoes: ours beside HAProxy and Envoy.

Clients send the same head again and again, as most do, and our gateway remembers heads. What it
costs when each differs, by the id of a trace, is told, too.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from bench._race import figure, race, ratio
from bench.gateway.fronts import OURS, WIRE, Front, echoes, ours, started_if_there
from bench.gateway.peers import ENVOY, HAPROXY
from bench.runtime.client import Wire

_GOALS = {"HAProxy": "<= 1.7", "Envoy": "<= 0.5"}
_TWO = ours(processes=2)
"""As it is started where nobody says otherwise."""


def run() -> Iterator[dict[str, Any]]:
    """The figures."""
    yield from _compare((OURS, HAPROXY, ENVOY, _TWO), WIRE, "")
    traced = replace(WIRE, numbered="traceparent")
    yield from _compare((OURS, HAPROXY), traced, ", each head another")


def _compare(fronts: Sequence[Front], wire: Wire, note: str) -> Iterator[dict[str, Any]]:
    with ExitStack() as stack:
        replicas = stack.enter_context(echoes(0, 0))
        racers = started_if_there(stack, fronts, replicas, wire)
        race(racers)
    for racer in racers:
        yield figure(f"{racer.name}, CPU a request{note}", statistics.median(racer.costs), "us")
        yield figure(
            f"{racer.name}, requests a second{note}", statistics.median(racer.rates), "1/s"
        )
    gateway = racers[0]
    for peer in racers:
        if peer.name in _GOALS:
            over = ratio(gateway.costs, peer.costs)
            goal = _GOALS[peer.name]
            yield figure(f"gateway over {peer.name}, CPU{note}", over, "ratio", goal)
