"""Cold starts in pairs: ours beside the floor of its kind, from the command to the right answer."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

from bench.runtime.environments import Unavailable
from bench.runtime.measure import say
from bench.runtime.ours import MODELYARD
from bench.runtime.peers import BATCHED, SINGLE
from bench.runtime.servers import Server, started
from bench.runtime.workloads import Workload

PAIRS = 5


def cold_starts(workload: Workload) -> Iterator[dict[str, Any]]:
    """The figure of one workload; none if a server cannot be started."""
    floor = BATCHED if workload.name in BATCHED.workloads else SINGLE
    try:
        pairs = [(_start(MODELYARD, workload), _start(floor, workload)) for _ in range(PAIRS)]
    except Unavailable as error:
        say(f"{workload.name} cold starts: {error}")
        return
    later = statistics.median(ours - least for ours, least in pairs)
    name = f"{workload.name} cold start after {floor.name}"
    yield {"figure": name, "value": later, "unit": "s", "goal": "<= 0.3"}


def _start(server: Server, workload: Workload) -> float:
    with started(server, workload) as running:
        return running.cold_start
