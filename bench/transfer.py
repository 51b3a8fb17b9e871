"""Registering and downloading large files: speed beside the floor, memory above idle.

The floor writes the same bytes to the same disk in one process: read, SHA-256, write, fsync.
"""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

import modelyard

SIZE = 1 << 30
LARGE = 5 << 30
ROUNDS = 3
CHUNK = 1 << 20


def write_random(path: Path, size: int) -> None:
    """A file of bytes that do not repeat within 64 MiB."""
    block = os.urandom(64 << 20)
    with path.open("wb") as file:
        for _ in range(size // len(block)):
            file.write(block)


def floor(source: Path, target: Path) -> float:
    """Seconds to read, hash, write and fsync the file."""
    began = time.perf_counter()
    digest = hashlib.sha256()
    with source.open("rb") as reading, target.open("wb") as writing:
        while chunk := reading.read(CHUNK):
            digest.update(chunk)
            writing.write(chunk)
        writing.flush()
        os.fsync(writing.fileno())
    took = time.perf_counter() - began
    target.unlink()
    return took


def register(yard: modelyard.Client, source: Path) -> float:
    """Seconds to register the file; it is deleted again, so that the next must be stored anew."""
    with source.open("r+b") as file:  # another first byte: a blob that is there costs nothing
        file.write(os.urandom(8))
    began = time.perf_counter()
    yard.models.register("bench", source)
    return time.perf_counter() - began


class Peak:
    """Watches the resident memory of processes while something runs."""

    def __init__(self, *pids: int) -> None:
        self._processes = [psutil.Process(pid) for pid in pids]
        self._idle = [process.memory_info().rss for process in self._processes]
        self._peaks = list(self._idle)
        self._done = threading.Event()

    def _watch(self) -> None:
        while not self._done.wait(0.02):
            for index, process in enumerate(self._processes):
                self._peaks[index] = max(self._peaks[index], process.memory_info().rss)

    def during(self, work: Callable[[], object]) -> list[float]:
        """MiB above idle that each process took."""
        watcher = threading.Thread(target=self._watch)
        watcher.start()
        work()
        self._done.set()
        watcher.join()
        return [
            (peak - idle) / (1 << 20) for peak, idle in zip(self._peaks, self._idle, strict=True)
        ]


def run() -> Iterator[dict[str, Any]]:
    """The figures."""
    with tempfile.TemporaryDirectory(prefix="my-") as name:
        folder = Path(name)
        home = folder / "home"
        os.environ |= {
            "MODELYARD_HOME": str(home),
            "MODELYARD_SERVER_PORT": "0",
            "MODELYARD_GATEWAY_PORT": "0",
        }
        with modelyard.connect() as yard:
            try:
                yield from speed(yard, folder)
                yield from memory(yard, folder, home)
            finally:
                yard.stop_server(everything=True)


def speed(yard: modelyard.Client, folder: Path) -> Iterator[dict[str, Any]]:
    """Pairs of floor and ours, in turn."""
    source = folder / "large.bin"
    write_random(source, SIZE)
    pairs = [(floor(source, folder / "copy"), register(yard, source)) for _ in range(ROUNDS)]
    source.unlink()
    mib = SIZE / (1 << 20)
    ours = statistics.median(pair[1] for pair in pairs)
    ratio = statistics.median(pair[0] / pair[1] for pair in pairs)
    yield {"figure": "register 1 GiB", "value": mib / ours, "unit": "MiB/s", "goal": ""}
    yield {
        "figure": "register 1 GiB, over writing and hashing it",
        "value": ratio,
        "unit": "ratio",
        "goal": ">= 0.6",
    }


def memory(yard: modelyard.Client, folder: Path, home: Path) -> Iterator[dict[str, Any]]:
    """Peaks of both sides while 5 GiB go in and come out."""
    source = folder / "huge.bin"
    write_random(source, LARGE)
    server = int(json.loads((home / "server.json").read_text())["pid"])
    up = Peak(os.getpid(), server).during(lambda: yard.models.register("huge", source))
    source.unlink()
    down = Peak(os.getpid(), server).during(lambda: yard.models.download("huge", folder / "down"))
    for direction, peaks in (("register", up), ("download", down)):
        for side, peak in zip(("client", "server"), peaks, strict=True):
            yield {
                "figure": f"{direction} 5 GiB, memory of the {side} above idle",
                "value": peak,
                "unit": "MiB",
                "goal": "<= 40",
            }
