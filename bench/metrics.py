"""What it costs to count a request: in a replica, in the gateway, and beside prometheus-client.

CPU of one thread, the fastest of several rounds, the loop around it taken away. In a replica that
is what is noted for every request with its sorting into buckets at a heartbeat; requests that are
scored together are counted together. In the gateway it is what an answer adds to mapped memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram

from modelyard.agent.gateway.counters import counters_in_memory
from modelyard_runtime.families import SECONDS
from modelyard_runtime.metrics import Metrics
from modelyard_runtime.slots import Slots
from modelyard_runtime.speaking import SPEAKER, finish

ROUNDS, REQUESTS = 7, 20_000
TOGETHER = 32
GOAL = "<= 2"


def run() -> Iterator[dict[str, Any]]:
    """The figures."""
    mine = _cheapest(_replica())
    together = _cheapest(_replica_together()) / TOGETHER
    yield _figure("a request in a replica, alone", mine, GOAL)
    yield _figure(f"a request in a replica, {TOGETHER} together", together, GOAL)
    yield _figure("a request in the gateway", _cheapest(_gateway()), GOAL)
    yield _figure("the request that a line belongs to", _cheapest(_speaker()), "")
    peer = _cheapest(_prometheus_client())
    yield _figure("the same counters and histograms in prometheus-client", peer, "")
    yield {"figure": "ours over prometheus-client", "value": mine / peer, "unit": "", "goal": ""}


def _figure(name: str, seconds: float, goal: str) -> dict[str, Any]:
    return {"figure": name, "value": seconds * 1e6, "unit": "us", "goal": goal}


def _cheapest(step: Callable[[], None]) -> float:
    """Seconds of CPU of one call."""
    times = []
    for _ in range(ROUNDS):
        empty = _cpu(lambda: None)
        times.append(_cpu(step) - empty)
    return min(times) / REQUESTS


def _cpu(step: Callable[[], None]) -> float:
    began = time.thread_time()
    for _ in range(REQUESTS):
        step()
    return time.thread_time() - began


def _replica() -> Callable[[], None]:
    metrics = Metrics(Slots(1), 0)
    left = [1000]

    def step() -> None:
        metrics.answered("score", 200, 0.0021)
        metrics.scored(0.0001, 0.00005, 0.00004)
        metrics.ran(0.0019)
        left[0] -= 1
        if not left[0]:  # a heartbeat, at 2,000 requests a second
            left[0] = 1000
            metrics.publish()

    return step


def _replica_together() -> Callable[[], None]:
    metrics = Metrics(Slots(1), 0)
    left = [1000 // TOGETHER]

    def step() -> None:
        metrics.answered_together("score", 200, [0.0021] * TOGETHER)
        metrics.scored_together([0.0001] * TOGETHER, 0.00005, 0.00004)
        metrics.ran(0.0019)
        metrics.batched(TOGETHER, TOGETHER)
        left[0] -= 1
        if not left[0]:
            left[0] = 1000 // TOGETHER
            metrics.publish()

    return step


def _gateway() -> Callable[[], None]:
    series = counters_in_memory().of("digits", "deployment")
    return lambda: series.answered(200, 0.0021)


def _speaker() -> Callable[[], None]:
    speaker: Any = object()

    def step() -> None:
        token = SPEAKER.set(speaker)
        SPEAKER.reset(token)
        finish(speaker)

    return step


def _prometheus_client() -> Callable[[], None]:
    registry = CollectorRegistry()
    requests = Counter("requests", "-", ["protocol", "status"], registry=registry)
    times = [
        Histogram(name, "-", labels, buckets=SECONDS, registry=registry)
        for name, labels in (
            ("duration", ["protocol"]),
            ("wait", ()),
            ("decode", ()),
            ("run", ()),
            ("encode", ()),
        )
    ]

    def step() -> None:
        requests.labels("score", "200").inc()
        times[0].labels("score").observe(0.0021)
        for histogram in times[1:]:
            histogram.observe(0.0001)

    return step
