"""Scoring servers side by side: ours, two floors, and those that people use today.

Each peer runs in an environment of its own, made by uv at its first use and kept in `BENCH_CACHE`
(default: `modelyard-bench` in the user's cache folder). Progress goes to standard error; the whole
result to `results.json` in that folder, from which `python -m bench.runtime.report` makes the
tables and the picture of `docs/reference/benchmarks.md`.

Environment variables, all optional:

* `BENCH_WORKLOADS=W1,W2`: only these.
* `BENCH_PEERS=MLServer,BentoML`: only these peers; floors and ours always run. `none`: no peers.
* `BENCH_ROUNDS=5`, `BENCH_SECONDS=2`: rounds of each server, and seconds of a round.

A whole run takes about half an hour. `wrk` is used where it is installed.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from bench.runtime.client import client_name
from bench.runtime.cold import cold_starts
from bench.runtime.environments import cache
from bench.runtime.goals import Results, figures
from bench.runtime.measure import ROUNDS, SECONDS, Absent, Outcome, measure, say
from bench.runtime.ours import MODELYARD, OURS
from bench.runtime.peers import FLOORS, PEERS
from bench.runtime.servers import Server
from bench.runtime.workloads import WORKLOADS, make_models

RESULTS = "results.json"


def run() -> Iterator[dict[str, Any]]:
    """The figures."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # so that servers end, too
    make_models()
    asked = _asked("BENCH_WORKLOADS")
    outcomes: list[Outcome] = []
    absent: list[Absent] = []
    colds: list[dict[str, Any]] = []
    for workload in WORKLOADS:
        if asked is None or workload.name in asked:
            found, missing = measure(workload, (*FLOORS, *OURS), _peers(), MODELYARD)
            outcomes += found
            absent += missing
            colds += cold_starts(workload)
            _keep(outcomes, absent, colds)
            for one in found:
                yield from _plain(one)
    yield from colds
    yield from figures(Results(outcomes))


def _peers() -> list[Server]:
    asked = _asked("BENCH_PEERS")
    return [peer for peer in PEERS if asked is None or peer.name in asked]


def _asked(variable: str) -> set[str] | None:
    value = os.environ.get(variable)
    return {name.strip() for name in value.split(",")} if value else None


def _plain(one: Outcome) -> Iterator[dict[str, Any]]:
    label = f"{one.workload} {one.server}, {one.connections} connections"
    for name, unit in (("cpu", "us"), ("rate", "requests/s"), ("p50", "ms"), ("p99", "ms")):
        value = one.median(name)
        yield {"figure": f"{label}: {name}", "value": value, "unit": unit, "goal": ""}
    for name, value, unit in (
        ("errors", one.errors, "requests"),
        ("cold start", one.cold_start, "s"),
        ("memory", one.memory, "MiB"),
    ):
        yield {"figure": f"{label}: {name}", "value": value, "unit": unit, "goal": ""}


def _keep(outcomes: list[Outcome], absent: list[Absent], colds: list[dict[str, Any]]) -> None:
    document = {
        "when": time.strftime("%Y-%m-%d"),
        "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
        "client": client_name(),
        "rounds": ROUNDS,
        "seconds": SECONDS,
        "outcomes": [one.to_json() for one in outcomes],
        "absent": [asdict(one) for one in absent],
        "cold_starts": colds,
    }
    path = cache() / RESULTS
    path.write_text(json.dumps(document, indent=1))
    say(f"results so far are in {path}")
