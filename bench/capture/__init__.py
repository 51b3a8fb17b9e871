"""Capture: what it costs, what it keeps while things go wrong, and how long asking takes.

Environment variables, all optional:

* `BENCH_PARTS=cost,kills`: only these parts; the names are those of the modules here.
* `BENCH_ROUNDS=5`, `BENCH_SECONDS=2`: rounds of `cost`, and seconds of a round.
* `BENCH_REQUESTS=10000`: requests of `kills`, and of `memory`.

All parts take about half an hour. Each part's result is kept in `capture.json` in the
bench's cache folder, from which `python -m bench._report capture docs/reference/benchmarks.md`
makes the tables there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bench._results import run_parts

PARTS = {
    "cost": "CPU of a request, in a replica",
    "path": "A request's way through a worker",
    "million": "A million records",
    "kills": "Kills",
    "peers": "Kills of others",
    "full_disk": "A full disk",
    "memory": "Memory over many rows",
}
"""Modules of this folder, and the titles of their tables."""


def run() -> Iterator[dict[str, Any]]:
    """The figures."""
    yield from run_parts("capture", tuple(PARTS))
