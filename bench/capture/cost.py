"""CPU of a replica for one request, with every request captured over none: the whole runtime.

Two replicas run beside each other and take turns under the same load; the fields that a gateway
puts into each request are the same but for the one that asks for a record. What has been recorded
is taken away as in use, so that the disk's cache is in use again and again.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from bench._race import figure
from bench.runtime.measure import race
from bench.runtime.ours import KEY, MODELYARD
from bench.runtime.servers import Launch, Server, started
from bench.runtime.workloads import WORKLOADS, Workload, make_models
from modelyard_runtime.capture.segments import open_closed, segments_in
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
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = [stack.enter_context(started(one, workload)) for one in _servers(folder)]
        stack.enter_context(_taken_away(folder))
        off, on = race(servers, workload, workload.connections[0])
    name = f"{workload.name}, {workload.connections[0]} connections"
    yield figure(f"{name}: capture off", off.median("cpu"), "us")
    yield figure(f"{name}: all captured", on.median("cpu"), "us")
    yield figure(f"{name}: captured over off", on.over(off, "cpu"), "ratio", GOALS[workload.name])
    yield figure(f"{name}: errors", on.errors + off.errors, "requests", "<= 0")


def _servers(folder: Path) -> tuple[Server, Server]:
    """The one that is not asked to record, and the one that is."""
    off = replace(MODELYARD, name="capture off", command=partial(_recording, folder), wire=_asking)
    fields = (FIELD.decode(), _CAPTURE)
    return off, replace(off, name="all captured", wire=partial(_asking, fields=(fields,)))


def _recording(folder: Path, launch: Launch) -> list[str]:
    """Our own command; the folder of records is what a worker needs to record."""
    command = MODELYARD.command(launch)
    config = Path(command[-1])
    told = {"capture": str(folder / launch.folder.name)}
    config.write_text(json.dumps(json.loads(config.read_bytes()) | told))
    return command


def _asking(workload: Workload, fields: tuple[tuple[str, str], ...] = ()) -> Any:
    wire = MODELYARD.wire(workload)
    told = {"x-request-id": "0123456789abcdef", **dict(fields)}
    return replace(wire, headers={**wire.headers, **told})


@contextmanager
def _taken_away(folder: Path) -> Iterator[None]:
    """Delete every segment soon after it is closed, as a sealer does when it has sealed it."""
    over = threading.Event()

    def take() -> None:
        while not over.wait(0.5):
            for path in [path for one in folder.iterdir() for path in segments_in(one)]:
                if (fd := open_closed(path)) is not None:
                    path.unlink()
                    os.close(fd)

    taker = threading.Thread(target=take)
    taker.start()
    try:
        yield
    finally:
        over.set()
        taker.join()
