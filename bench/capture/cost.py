"""CPU of a replica for one request, with every request captured over none: the whole runtime.

Two replicas run beside each other and take turns under the same load; the fields that a gateway
puts into each request are the same but for the one that asks for a record.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench._race import figure
from bench.runtime.measure import race
from bench.runtime.ours import KEY, MODELYARD
from bench.runtime.servers import Launch, Server, started
from bench.runtime.workloads import WORKLOADS, Workload, make_models
from modelyard_runtime.capture.spool import Bounds
from modelyard_runtime.capture.wanted import FIELD, Wanted

GOALS = {"W2": "<= 1.35", "W3": "<= 1.25"}
_CAPTURE = Wanted(KEY.id, Bounds(space=1 << 40)).encode().decode()


def run() -> Iterator[dict[str, Any]]:
    """The figures."""
    make_models()
    for workload in WORKLOADS:
        if workload.name in GOALS:
            yield from _beside(workload)


def _beside(workload: Workload) -> Iterator[dict[str, Any]]:
    with ExitStack() as stack:
        servers = [stack.enter_context(started(one, workload)) for one in (_OFF, _ON)]
        off, on = race(servers, workload, workload.connections[0])
    name = f"{workload.name}, {workload.connections[0]} connections"
    yield figure(f"{name}: capture off", off.median("cpu"), "us")
    yield figure(f"{name}: all captured", on.median("cpu"), "us")
    yield figure(f"{name}: captured over off", on.over(off, "cpu"), "ratio", GOALS[workload.name])
    yield figure(f"{name}: errors", on.errors + off.errors, "requests", "<= 0")


def _recording(launch: Launch) -> list[str]:
    """Our own command; the folder of records is what a worker needs to record."""
    command = MODELYARD.command(launch)
    config = Path(command[-1])
    captured = {"capture": str(launch.folder / "captured")}
    config.write_text(json.dumps(json.loads(config.read_bytes()) | captured))
    return command


def _asking(workload: Workload, *fields: tuple[str, str]) -> Any:
    wire = MODELYARD.wire(workload)
    told = {"x-request-id": "0123456789abcdef", **dict(fields)}
    return replace(wire, headers={**wire.headers, **told})


_OFF: Server = replace(MODELYARD, name="capture off", command=_recording, wire=_asking)
_ON: Server = replace(
    _OFF,
    name="all captured",
    wire=lambda workload: _asking(workload, (FIELD.decode(), _CAPTURE)),
)
