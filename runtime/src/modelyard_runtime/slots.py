"""Memory that the workers of a replica share for their figures, and the file that it is kept in.

It is made before the first fork, so that figures survive the workers that made them; in a file
beside the status file they survive the replica, too, and whoever runs it can read them at any
moment. A head says what is where, so that a reader of another version understands it.
"""

from __future__ import annotations

import mmap
import os
import re
import sys
from array import array
from math import prod
from typing import Any

import orjson

from modelyard_runtime.families import BY_NAME, FAMILIES, WIDTH, Family, Figures

LARGEST = 32 << 20
"""Bytes of the largest file that is read: 1,024 workers need less."""

_SIZE = 8
_HEAD = 16 << 10
_MOST_SERIES = 10_000
_VALUES = re.compile(r"[a-z0-9_]{1,40}")
_GAUGES = [family for family in FAMILIES if family.kind == "gauge"]


class Slots:
    """The shared memory: as many slots for each worker as there are figures.

    Args:
        workers: Processes that write.
        path: A file to keep it in, which goes on counting if it is from a replica like this one;
            None, or a file that cannot be made, keeps it in memory only.
    """

    def __init__(self, workers: int, path: str | None = None) -> None:
        self.workers = workers
        size = workers * WIDTH * _SIZE
        kept = _open(path, _head(workers), size) if path is not None else None
        whole = memoryview(mmap.mmap(-1, size) if kept is None else kept)
        self._values = whole[-size:].cast("d")
        for worker in range(workers):
            own = self.of(worker)
            for family in _GAUGES:  # nothing of an earlier life is in flight
                own[family.start] = 0.0

    def of(self, worker: int) -> memoryview[float]:
        """Where one worker's figures are."""
        return self._values[worker * WIDTH : (worker + 1) * WIDTH]

    def total(self) -> list[float]:
        """The figures of all workers, added up."""
        return [sum(values, 0.0) for values in zip(*map(self.of, range(self.workers)), strict=True)]


def read_slots(data: bytes) -> Figures:
    """The figures in the bytes of such a file, all workers added up.

    The file is a replica's, so nothing in it is believed: what is not one of our metrics, with our
    labels and bounds, is left out, and so is every value that nobody can have counted.

    Raises:
        ValueError: It is no such file.
    """
    try:
        head = orjson.loads(data[:_HEAD])
        workers, width = int(head["workers"]), int(head["width"])
        if not 0 < width * workers * _SIZE <= len(data) - _HEAD:
            raise ValueError("it is shorter than it says")
        values = array("d", data[_HEAD : _HEAD + workers * width * _SIZE])
        rows = [values[worker * width : (worker + 1) * width] for worker in range(workers)]
        total = [sum(column, 0.0) for column in zip(*rows, strict=True)]
        found = (_family(described) for described in head["families"])
        return {family.name: _read(family, total) for family in found if family is not None}
    except (LookupError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"it does not hold figures: {error}") from error


def _read(family: Family, total: list[float]) -> dict[str, list[float]]:
    width, start = family.width, family.start
    if start < 0 or start + family.size > len(total):
        raise ValueError(f"{family.name} is outside of it")
    read = {}
    for number, labels in enumerate(family.series()):
        own = total[start + number * width : start + (number + 1) * width]
        occurred = not family.labels or any(own)
        if occurred and all(0 <= value < sys.float_info.max for value in own):
            read[labels] = own
    return read


def _family(described: Any) -> Family | None:
    """A family as another runtime has laid it out; None if it is not one of ours."""
    name, labels, bounds, start = described
    own = BY_NAME.get(name)
    if own is None or tuple(bounds) != own.bounds or len(labels) != len(own.labels):
        return None
    for (label, values), (known, _) in zip(labels, own.labels, strict=True):
        if label != known or not all(map(_VALUES.fullmatch, values)):
            return None
    if prod(len(values) for _, values in labels) > _MOST_SERIES:
        return None
    read = tuple((label, tuple(values)) for label, values in labels)
    return Family(own.name, own.kind, own.help, read, own.bounds, int(start))


def _head(workers: int) -> bytes:
    described = [(f.name, f.labels, f.bounds, f.start) for f in FAMILIES]
    text = orjson.dumps({"workers": workers, "width": WIDTH, "families": described})
    assert len(text) <= _HEAD
    return text.ljust(_HEAD)


def _open(path: str, head: bytes, size: int) -> mmap.mmap | None:
    """The file, mapped: the one that is there if it has this head, else a new one."""
    try:
        return _map(path, head, size) or _make(path, head, size)
    except OSError as error:
        sys.stderr.write(f"modelyard: figures are not kept: {error}\n")
        return None


def _map(path: str, head: bytes, size: int) -> mmap.mmap | None:
    try:
        with open(path, "r+b") as file:
            if os.fstat(file.fileno()).st_size != len(head) + size or file.read(_HEAD) != head:
                return None
            return mmap.mmap(file.fileno(), len(head) + size)
    except FileNotFoundError:
        return None


def _make(path: str, head: bytes, size: int) -> mmap.mmap | None:
    """Written, not only sized: a full disk is found out here, and not by a write to memory."""
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "wb") as file:
        file.write(head + bytes(size))
    os.replace(temporary, path)
    return _map(path, head, size)
