"""A disk that is really full: a small one is mounted where a replica records. As root, on Linux."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

import modelyard
from bench._race import figure
from bench.capture.kills import runtimes, workers
from bench.capture.posting import Posting, numbered
from bench.gateway.product import Product, product
from bench.runtime.client import Wire, ask
from bench.runtime.measure import say

_SIZE = "4m"
_REQUESTS = 500
"""Before it is full, while it is, and after there is room again."""
_RATE = 200.0
_PATIENCE = 60.0


def run() -> Iterator[dict[str, Any]]:
    """The figures; none where nobody may mount."""
    if os.geteuid() != 0:
        say("full_disk: only root may mount a small disk")
        return
    with product() as running:
        port, wire = running.deploy(running.image())
        (replica,) = (running.home / "agent" / "replicas").iterdir()
        uri = f"http://127.0.0.1:{port}{wire.path}"
        posting = Posting(uri, dict(wire.headers), numbered, _RATE)
        with small_disk(replica / "captured") as disk:
            _start_again(running, wire, port)  # its sandbox is to see what was mounted
            running.yard.services.update("bench", capture="100%")
            with posting.going_on():
                posting.until(_REQUESTS)
                fill(disk / "ballast")
                posting.until(2 * _REQUESTS)
                (disk / "ballast").unlink()
                time.sleep(1)
                posting.until(4 * _REQUESTS)
            with modelyard.connect() as yard:
                account = yard.captures.verify("bench", wait=60)
                table = yard.captures.query("SELECT prediction_id FROM requests")
    recorded = len({name for (name,) in table.rows} & set(posting.acknowledged.values()))
    yield figure("requests", posting.tried, "requests")
    yield figure("without a good answer", posting.failed, "requests", "<= 0")
    yield figure("recorded", account.captured, "records")
    yield figure("dropped, and counted", account.dropped, "records", ">= 1")
    counted = account.answered - account.captured - account.dropped
    yield figure("answered, less recorded, less dropped", abs(counted), "requests", "<= 0")
    lost = len(posting.acknowledged) - recorded - account.dropped
    yield figure("the clients' count, less recorded, less dropped", abs(lost), "requests", "<= 0")


def _start_again(running: Product, wire: Wire, port: int) -> None:
    """Kill the replica's runtime and wait for the next one's first answer."""
    (before,) = workers(running)
    runtimes(running)[0].kill()
    give_up = time.monotonic() + _PATIENCE
    while time.monotonic() < give_up:
        time.sleep(0.2)
        with suppress(OSError, ValueError, LookupError, TypeError, psutil.Error):
            if before not in workers(running) and ask(port, wire)[0] == 200:
                return
    raise RuntimeError("the replica does not answer again")


@contextmanager
def small_disk(place: Path) -> Iterator[Path]:
    """A file system of a few MiB."""
    place.mkdir(exist_ok=True)
    options = ["-t", "tmpfs", "-o", f"size={_SIZE}", "modelyard-bench"]
    subprocess.run(["mount", *options, str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(path: Path) -> None:
    """Write until there is no room for one more byte."""
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(bytes(4096)) == 4096:
            pass
