"""What became of requests, by deployment: counted by gateway processes, read by anybody.

Each process has a file of its own, which it maps into memory and is the only writer of: no lock, no
system call, about 0.2 µs a request. A restarted process goes on counting in it. Readers add the
files up. Every page of a file is written before it is mapped, because a full disk would otherwise
end the process at its first count.
"""

from __future__ import annotations

import logging
import mmap
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from modelyard.agent.gateway.shapes import SIZE as SHAPES
from modelyard.agent.gateway.shapes import ShapeTable, read_shapes
from modelyard.files import replace_file
from modelyard_runtime.families import SECONDS

_MAGIC = b"modelyard counters 3".ljust(64)
_MOST_SERIES = 512
_NAME = 32  # bytes of a service's name, and then of a deployment's id
_DEPLOYMENT = 40
_LABEL = _NAME + _DEPLOYMENT
_SLOT = 8
_FIRST_STATUS, _STATUSES = 100, 500
_BEYOND = _FIRST_STATUS + _STATUSES
_BUCKETS = _STATUSES
_SUM = _BUCKETS + len(SECONDS) + 1
_WAITS = _SUM + 1
_WAITED = _WAITS + len(SECONDS) + 1
_WIDTH = _WAITED + 1
_FIGURES = _WIDTH * _SLOT
_RECORD = _LABEL + _FIGURES + SHAPES
_SIZE = len(_MAGIC) + _MOST_SERIES * _RECORD

_log = logging.getLogger("modelyard.gateway")

OWN = ""
"""In the place of a deployment: what the gateway answered without one."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What became of requests; figures of several processes or deployments add up."""

    statuses: tuple[int, ...] = (0,) * _STATUSES
    """Requests by status, from 100 to 599: the gateway's own 502 and 504 are those of a replica
    that was lost, or took too long."""
    durations: tuple[int, ...] = (0,) * (len(SECONDS) + 1)
    """Requests by the time from being sent to a replica to its answer, or to the begin of one that
    is passed on as it comes: one bucket up to each of `SECONDS`, and one beyond."""
    seconds: float = 0.0
    """The sum of these times."""
    shapes: Mapping[str, int] = field(default_factory=dict)
    """Good answers to POST by their shape, `domain.answers.shape_of`; only those that came while a
    rollout was judged."""
    other_shapes: int = 0
    """Those in shapes for which there was no room."""
    waits: tuple[int, ...] = (0,) * (len(SECONDS) + 1)
    """Requests that waited at the gateway, by how long, in the same buckets; of a service only."""
    waited: float = 0.0
    """The sum of these times."""

    def __add__(self, other: Figures) -> Figures:
        return Figures(
            tuple(map(sum, zip(self.statuses, other.statuses, strict=True))),
            tuple(map(sum, zip(self.durations, other.durations, strict=True))),
            self.seconds + other.seconds,
            dict(Counter(self.shapes) + Counter(other.shapes)),
            self.other_shapes + other.other_shapes,
            tuple(map(sum, zip(self.waits, other.waits, strict=True))),
            self.waited + other.waited,
        )

    @property
    def requests(self) -> int:
        """All of them."""
        return sum(self.statuses)

    def between(self, first: int, last: int) -> int:
        """Requests with a status from `first` to `last`."""
        return sum(self.statuses[first - _FIRST_STATUS : last - _FIRST_STATUS + 1])

    def by_status(self) -> dict[int, int]:
        """Requests by status, without those that never occurred."""
        return {_FIRST_STATUS + at: count for at, count in enumerate(self.statuses) if count}


class Series:
    """The slots of one deployment of a service; its process is their only writer."""

    __slots__ = ("shapes", "values")

    def __init__(self, memory: memoryview[int]) -> None:
        self.use(memory)

    def use(self, memory: memoryview[int]) -> None:
        """Count here from now on: `_FIGURES` and the table of shapes."""
        self.values: memoryview[float] = memory[:_FIGURES].cast("d")
        self.shapes = ShapeTable(memory[_FIGURES:])

    def answered(self, status: int, seconds: float) -> None:
        """A request was answered with this status, `seconds` after it was sent to a replica."""
        values = self.values
        values[(status if status < _BEYOND else _BEYOND - 1) - _FIRST_STATUS] += 1
        values[_BUCKETS + bisect_left(SECONDS, seconds)] += 1
        values[_SUM] += seconds

    def left_queue(self, seconds: float) -> None:
        """A request has waited so long for a replica, in vain or not."""
        self.values[_WAITS + bisect_left(SECONDS, seconds)] += 1
        self.values[_WAITED] += seconds

    def refused(self, status: int) -> None:
        """A request was answered with this status without a replica."""
        self.values[status - _FIRST_STATUS] += 1


class Counters:
    """The counters of one process.

    Args:
        memory: `_SIZE` bytes, kept from an earlier life or new.
    """

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory
        self._view = memoryview(memory)
        self._places = {label: place for place, label in _labels(memory)}
        self._series = {label: self._at(place) for label, place in self._places.items()}
        self._served: frozenset[tuple[str, str]] = frozenset()
        self._told = False

    def of(self, service: str, deployment: str = OWN) -> Series:
        """Where the requests to a deployment are counted, or those that reached none."""
        label = (service, deployment)
        if label not in self._series:
            self._series[label] = self._new(label)
        return self._series[label]

    def follow(self, labels: Collection[tuple[str, str]]) -> None:
        """These are served from now on: forget services that are not among them.

        Earlier deployments of those that are stay readable while there is room.
        """
        self._served = frozenset(labels)
        services = {service for service, _ in labels}
        self._forget(label for label in self._series if label[0] not in services)

    def _forget(self, labels: Iterable[tuple[str, str]]) -> None:
        for label in list(labels):
            place = self._places.pop(label, None)
            if place is not None:
                self._clear(place)
            # Whoever still holds it counts where nobody looks.
            self._series.pop(label).use(_nowhere())

    def _new(self, label: tuple[str, str]) -> Series:
        if len(self._places) == _MOST_SERIES:
            self._forget(self._series.keys() - self._served - {label})
        taken = set(self._places.values())
        place = next((place for place in range(_MOST_SERIES) if place not in taken), None)
        if place is None:
            if not self._told:
                _log.error("more than %d deployments: not all are counted", _MOST_SERIES)
            self._told = True
            return Series(_nowhere())
        self._clear(place)
        start = _place(place)
        service, deployment = (part.encode() for part in label)
        self._memory[start + _NAME : start + _LABEL] = deployment.ljust(_DEPLOYMENT, b"\0")
        self._memory[start : start + _NAME] = service.ljust(_NAME, b"\0")
        self._places[label] = place
        return self._at(place)

    def _at(self, place: int) -> Series:
        start = _place(place) + _LABEL
        return Series(self._view[start : start + _FIGURES + SHAPES])

    def _clear(self, place: int) -> None:
        start = _place(place)
        self._memory[start : start + _RECORD] = bytes(_RECORD)


def open_counters(path: Path) -> Counters:
    """The counters of a process, in the file at `path`, whose folder is made when it is missing.

    Where there can be none, as on a full disk, they are kept in memory and nobody reads them.
    """
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        return Counters(_mapped(path))
    except OSError as error:
        _log.error("what becomes of requests is not told: %s", error)
        return counters_in_memory()


def counters_in_memory() -> Counters:
    """Counters that nobody else sees."""
    return Counters(mmap.mmap(-1, _SIZE))


def read_counters(folder: Path) -> dict[tuple[str, str], Figures]:
    """The figures of all processes together, by service and deployment (`OWN`: of none)."""
    found: dict[tuple[str, str], Figures] = {}
    for path in folder.glob("[0-9]*"):
        for label, figures in _read(path):
            found[label] = found[label] + figures if label in found else figures
    return found


def _mapped(path: Path) -> mmap.mmap:
    if not _is_whole(path):
        replace_file(path, _MAGIC + bytes(_SIZE - len(_MAGIC)), durable=False)
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), _SIZE)


def _is_whole(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return path.stat().st_size == _SIZE and file.read(len(_MAGIC)) == _MAGIC
    except FileNotFoundError:
        return False


def _read(path: Path) -> Iterator[tuple[tuple[str, str], Figures]]:
    try:
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory,
        ):
            if len(memory) != _SIZE or memory[: len(_MAGIC)] != _MAGIC:
                return
            for place, label in _labels(memory):
                start = _place(place) + _LABEL
                yield label, _figures(memory[start : start + _FIGURES + SHAPES])
    except (OSError, ValueError):
        return


def _figures(record: bytes) -> Figures:
    values = array("d", record[:_FIGURES])
    counts = tuple(map(int, values))
    return Figures(
        counts[:_BUCKETS],
        counts[_BUCKETS:_SUM],
        values[_SUM],
        *read_shapes(record[_FIGURES:]),
        counts[_WAITS:_WAITED],
        values[_WAITED],
    )


def _labels(memory: mmap.mmap) -> Iterator[tuple[int, tuple[str, str]]]:
    for place in range(_MOST_SERIES):
        start = _place(place)
        service = memory[start : start + _NAME].rstrip(b"\0")
        if service:
            deployment = memory[start + _NAME : start + _LABEL].rstrip(b"\0")
            yield place, (service.decode("utf-8", "replace"), deployment.decode("utf-8", "replace"))


def _place(number: int) -> int:
    return len(_MAGIC) + number * _RECORD


def _nowhere() -> memoryview[int]:
    return memoryview(bytearray(_FIGURES + SHAPES))
