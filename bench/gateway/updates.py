"""Rolling updates of a service, and gateways that take over, while clients go on asking."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

from bench._race import figure
from bench.gateway.clients import Steady
from bench.gateway.product import product

_TIMES = int(os.environ.get("BENCH_UPDATES", "20"))


def run() -> Iterator[dict[str, Any]]:
    """The figures."""
    with product() as running:
        images = [running.image(note) for note in ("one", "other")]
        port, wire = running.deploy(images[0])

        def update(number: int) -> None:
            running.yard.services.update("bench", image=images[(number + 1) % 2])

        yield from _figures("updates of one replica", update, Steady(port, wire))


def _figures(what: str, change: Callable[[int], None], clients: Steady) -> Iterator[dict[str, Any]]:
    took = []
    with clients.asking():
        for number in range(_TIMES):
            began = time.monotonic()
            change(number)
            took.append(time.monotonic() - began)
    what = f"{_TIMES} {what}"
    yield figure(f"{what}, seconds for one", statistics.median(took), "s")
    yield figure(f"{what}, requests", len(clients.seen), "requests")
    yield figure(f"{what}, failed requests", len(clients.failures), "requests", "<= 0")
    yield figure(f"{what}, p99", clients.p99(), "ms")
