"""CPU that a front adds to each request before two bare echoes: ours beside HAProxy and Envoy."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from bench._race import figure, race, ratio
from bench.gateway.fronts import OURS, echoes, ours, started_if_there
from bench.gateway.peers import ENVOY, HAPROXY

_GOALS = {"HAProxy": "<= 1.7", "Envoy": "<= 0.5"}
_TWO = ours(processes=2)
"""As it is started where nobody says otherwise."""


def run() -> Iterator[dict[str, Any]]:
    """The figures."""
    with ExitStack() as stack:
        replicas = stack.enter_context(echoes(0, 0))
        racers = started_if_there(stack, (OURS, HAPROXY, ENVOY, _TWO), replicas)
        race(racers)
    for racer in racers:
        yield racer.cost()
        yield figure(f"{racer.name}, requests a second", statistics.median(racer.rates), "1/s")
    gateway = racers[0]
    for peer in racers:
        if peer.name in _GOALS:
            over = ratio(gateway.costs, peer.costs)
            yield figure(f"gateway over {peer.name}, CPU", over, "ratio", _GOALS[peer.name])
