"""CPU that a front adds to each request before two bare echoes: ours beside HAProxy and Envoy."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from bench._race import figure, race, ratio
from bench.gateway.fronts import OURS, echoes, started_if_there
from bench.gateway.peers import ENVOY, HAPROXY

_GOALS = {"HAProxy": "<= 1.7", "Envoy": "<= 0.5"}


def run() -> Iterator[dict[str, Any]]:
    """The figures."""
    with ExitStack() as stack:
        replicas = stack.enter_context(echoes(0, 0))
        racers = started_if_there(stack, (OURS, HAPROXY, ENVOY), replicas)
        race(racers)
    for racer in racers:
        yield racer.cost()
        yield figure(f"{racer.name}, requests a second", statistics.median(racer.rates), "1/s")
    ours, *peers = racers
    for peer in peers:
        over = ratio(ours.costs, peer.costs)
        yield figure(f"gateway over {peer.name}, CPU", over, "ratio", _GOALS[peer.name])
