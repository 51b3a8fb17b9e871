"""What recording adds to a request's way through a worker, without sockets and kernel.

Its share of that is larger than of a whole request: see `cost`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bench._race import figure
from bench.runtime.workloads import WORKLOADS, make_models
from bench.runtime_path import seconds

ROUNDS = 3
AT_ONCE = 32


def run() -> Iterator[dict[str, Any]]:
    """The figures."""
    make_models()
    for workload in WORKLOADS:
        if workload.name in ("W2", "W3"):
            pairs = [
                (seconds("ours", workload, AT_ONCE), seconds("captured", workload, AT_ONCE))
                for _ in range(ROUNDS)
            ]
            off, on = (min(column) for column in zip(*pairs, strict=True))
            name = f"{workload.name}, {AT_ONCE} requests at once"
            yield figure(f"{name}: capture off", off * 1e6, "us")
            yield figure(f"{name}: all captured", on * 1e6, "us")
            yield figure(f"{name}: captured over off", on / off, "ratio")
