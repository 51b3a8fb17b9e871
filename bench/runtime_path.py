"""CPU of a request's way through a worker, beside the batched floor, without sockets or kernel.

For work on that way: it takes seconds, and what it shows is steady to a few percent even on a busy
machine, which `bench runtime` is not. Its figures are smaller than that one's by what the kernel
and cold caches cost both.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.runtime.environments import python
from bench.runtime.ours import MODELYARD
from bench.runtime.servers import PROGRAMS, Launch, variables_of
from bench.runtime.workloads import WORKLOADS, Workload, make_models

CONNECTIONS = (8, 32)


def run() -> Iterator[dict[str, Any]]:
    """The figures."""
    make_models()
    for workload in WORKLOADS:
        if workload.name in ("W1", "W2"):
            for connections in CONNECTIONS:
                yield from _beside(workload, connections)


def _beside(workload: Workload, connections: int) -> Iterator[dict[str, Any]]:
    least, mine = (seconds(kind, workload, connections) for kind in ("floor", "ours"))
    name = f"{workload.name}, {connections} requests at once"
    yield {"figure": f"{name}: floor", "value": least * 1e6, "unit": "us", "goal": ""}
    yield {"figure": f"{name}: ours", "value": mine * 1e6, "unit": "us", "goal": ""}
    yield {"figure": f"{name}: ours over the floor", "value": mine / least, "unit": "", "goal": ""}


def seconds(kind: str, workload: Workload, connections: int) -> float:
    """Of one request, as `programs/path.py` measures it."""
    with tempfile.TemporaryDirectory(prefix="my-") as name:
        launch = Launch(workload, 0, Path(name))
        MODELYARD.command(launch)  # writes the configuration
        config = Path(name) / "replica.json"
        command = [python("floor"), str(PROGRAMS / "path.py"), kind, str(connections), str(config)]
        variables = variables_of(MODELYARD, launch)
        done = subprocess.run(command, env=variables, cwd=name, check=True, stdout=subprocess.PIPE)
        return float(json.loads(done.stdout))
