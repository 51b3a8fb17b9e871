"""Memory of whatever records, while very many rows are captured: requests of a thousand rows each.

Each process's memory of its own is looked at when a tenth of the requests has been answered, and at
the end: what stays behind for each request would show.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

import modelyard
from bench._race import figure
from bench.capture.kills import agents, gateways, workers
from bench.gateway.product import Product, product
from bench.runtime.client import Wire, load

REQUESTS = int(os.environ.get("BENCH_REQUESTS", "10000"))
_ROWS, _COLUMNS = 1000, 4
_CONNECTIONS = 8
_SLICE = 1.0
"""Seconds of load between two looks."""
_MIB = 1 << 20
_SCRIPT = """
def init():
    pass

def run(data: list):
    return [row[0] + row[1] for row in data]
"""


def run() -> Iterator[dict[str, Any]]:
    """The figures."""
    with product() as running:
        port, wire = _deploy(running)
        seen = _Seen(running)
        answered, failed, began = 0, 0, time.monotonic()
        early: dict[str, float] = {}
        while answered < REQUESTS:
            found = load(port, wire, _CONNECTIONS, _SLICE)
            answered += found.requests - found.errors
            failed += found.errors
            seen.look()
            if not early and answered >= REQUESTS / 10:
                early = seen.recent()
        took = time.monotonic() - began
        late = seen.recent()
        sealers = seen.most_of_sealers
        with modelyard.connect() as yard:
            account = yard.captures.verify("bench", wait=300)
    yield figure("rows captured", account.captured * _ROWS, "rows")
    yield figure("rows per second", answered * _ROWS / took, "rows/s")
    yield figure("requests without a good answer", failed, "requests", "<= 0")
    yield figure("records missing", max(0, account.missing), "records", "<= 0")
    yield figure("dropped for want of room", account.dropped, "records")
    for kind in early:
        yield figure(f"memory of {kind}, after a tenth", early[kind], "MiB")
        yield figure(f"memory of {kind}, at the end", late[kind], "MiB")
        yield figure(f"memory of {kind}, end over tenth", late[kind] / early[kind], "", "<= 1.1")
    yield figure("memory of a sealer, the most", sealers, "MiB")


def _deploy(running: Product) -> tuple[int, Wire]:
    folder = running.home.parent
    (folder / "rows.py").write_text(_SCRIPT)
    (folder / "note.txt").write_text("rows")
    model = running.yard.models.register("rows", folder / "note.txt", sample_input=[[1, 2, 3, 4]])
    image = running.yard.images.build("rows", models=[model.reference], script=folder / "rows.py")
    port, wire = running.deploy(image.reference, capture="100%", capture_space="20GiB")
    rows = [[number % 97 / 8] * _COLUMNS for number in range(_ROWS)]
    return port, Wire(wire.path, json.dumps(rows).encode(), wire.headers)


class _Seen:
    """Looks at processes."""

    def __init__(self, running: Product) -> None:
        self._running = running
        self._last: dict[str, float] = {}
        self.most_of_sealers = 0.0
        threading.Thread(target=self._watch_sealers, daemon=True).start()

    def look(self) -> None:
        """Note what each kind uses now: the sum of its processes."""
        running = self._running
        kinds = {
            "the worker": workers(running),
            "the gateway": gateways(running),
            "the agent": agents(running),
        }
        self._last = {kind: sum(map(_private, found)) for kind, found in kinds.items()}

    def recent(self) -> dict[str, float]:
        """MiB at the last look."""
        return dict(self._last)

    def _watch_sealers(self) -> None:
        while True:
            time.sleep(0.1)
            with suppress(OSError, ValueError, LookupError, psutil.Error):
                (agent,) = agents(self._running)
                for one in agent.children():
                    if "modelyard.capture.sealing" in one.cmdline():
                        self.most_of_sealers = max(self.most_of_sealers, _private(one))


def _private(process: psutil.Process) -> float:
    """MiB that it shares with no other process."""
    lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
    kinds = ("Private_Clean:", "Private_Dirty:")
    return sum(int(line.split()[1]) for line in lines if line.startswith(kinds)) * 1024 / _MIB
