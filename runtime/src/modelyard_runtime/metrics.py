"""Counts and times of a replica, in memory that its workers share, as Prometheus text.

The shared memory is made before the first fork, so that figures survive the workers that made them.
Each worker has its own slots and is their only writer: there are no locks. It notes what it
measures and sorts that into its slots at every heartbeat and scrape. Any worker can answer for all.
"""

from __future__ import annotations

import mmap
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from modelyard_runtime.board import Board
from modelyard_runtime.processes import cpu_seconds, resident_bytes

CONTENT_TYPE = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")

PROTOCOLS = ("score", "infer", "mlflow", "grpc")
STAGES = ("decode", "run", "encode")
REFUSALS = ("key", "in_flight", "queue_length", "queue_wait")

SECONDS = (
    *(0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
"""Upper bounds of the buckets of times."""
SIZES = tuple(float(2**power) for power in range(13))
"""Upper bounds of the buckets of batch sizes."""

_STATUSES = tuple(str(status) for status in range(100, 600))
_SPAN = 1000
_SIZE = 8
_PROTOCOL = {name: number for number, name in enumerate(PROTOCOLS)}


@dataclass(frozen=True, slots=True)
class Family:
    """A metric with all its label values; its slots lie together, beginning at `start`."""

    name: str
    kind: str
    help: str
    labels: tuple[tuple[str, tuple[str, ...]], ...] = ()
    bounds: tuple[float, ...] = ()
    start: int = 0

    @property
    def width(self) -> int:
        """Slots for one set of label values: a number, or a bucket each, one beyond, and a sum."""
        return len(self.bounds) + 2 if self.bounds else 1

    @property
    def size(self) -> int:
        """Slots for everything."""
        return self.width * len(self.series())

    def series(self) -> list[str]:
        """Every set of label values as it is written, in the order of the slots."""
        written = [""]
        for name, values in self.labels:
            written = [
                f'{text},{name}="{value}"' if text else f'{name}="{value}"'
                for text in written
                for value in values
            ]
        return written

    def write(self, values: Sequence[float]) -> Iterator[str]:
        """Its lines, without those of label values that never occurred if there are several."""
        yield f"# HELP {self.name} {self.help}"
        yield f"# TYPE {self.name} {self.kind}"
        sole = not self.labels
        for index, labels in enumerate(self.series()):
            at = self.start + index * self.width
            own = values[at : at + self.width]
            if sole or any(own):
                yield from self._write_one(labels, own)

    def _write_one(self, labels: str, values: Sequence[float]) -> Iterator[str]:
        if not self.bounds:
            yield sample(self.name, labels, values[0])
            return
        *buckets, total = values
        counts = list(accumulate(buckets))
        comma = "," if labels else ""
        for bound, count in zip([*map(_number, self.bounds), "+Inf"], counts, strict=True):
            yield sample(f"{self.name}_bucket", f'{labels}{comma}le="{bound}"', count)
        yield sample(f"{self.name}_sum", labels, total)
        yield sample(f"{self.name}_count", labels, counts[-1])


def _lay_out(*families: Family) -> tuple[Family, ...]:
    placed: list[Family] = []
    start = 0
    for family in families:
        placed.append(
            Family(family.name, family.kind, family.help, family.labels, family.bounds, start)
        )
        start += family.size
    return tuple(placed)


FAMILIES = _lay_out(
    Family(
        "modelyard_requests_total",
        "counter",
        "Scoring requests that were answered, refusals included.",
        (("protocol", PROTOCOLS), ("status", _STATUSES)),
    ),
    Family(
        "modelyard_request_duration_seconds",
        "histogram",
        "Time from a whole request to its answer.",
        (("protocol", PROTOCOLS),),
        SECONDS,
    ),
    Family(
        "modelyard_queue_wait_seconds",
        "histogram",
        "Time that a request waited for its turn to be scored.",
        bounds=SECONDS,
    ),
    Family(
        "modelyard_stage_duration_seconds",
        "histogram",
        "Time to read the input of a request, to call the model, to write its answer.",
        (("stage", STAGES),),
        SECONDS,
    ),
    Family(
        "modelyard_batch_rows",
        "histogram",
        "Rows that were scored in one call, where requests are scored together.",
        bounds=SIZES,
    ),
    Family(
        "modelyard_batch_requests",
        "histogram",
        "Requests that were scored in one call, where requests are scored together.",
        bounds=SIZES,
    ),
    Family(
        "modelyard_requests_refused_total",
        "counter",
        "Requests that were refused for want of a key or of room, by what was lacking.",
        (("reason", REFUSALS),),
    ),
    Family(
        "modelyard_non_finite_answers_total",
        "counter",
        "Answers in which a NaN or an infinity was replaced by null.",
    ),
    Family("modelyard_requests_in_flight", "gauge", "Requests that are waiting or being scored."),
    Family("modelyard_queue_length", "gauge", "Requests that are waiting for their turn."),
)
_BY_NAME = {family.name: family for family in FAMILIES}
_WIDTH = FAMILIES[-1].start + FAMILIES[-1].size


class Slots:
    """The shared memory: as many slots for each worker as there are figures."""

    def __init__(self, workers: int) -> None:
        self._values = memoryview(mmap.mmap(-1, workers * _WIDTH * _SIZE)).cast("d")
        self.workers = workers

    def of(self, worker: int) -> memoryview[float]:
        """Where one worker's figures are."""
        return self._values[worker * _WIDTH : (worker + 1) * _WIDTH]

    def total(self) -> list[float]:
        """The figures of all workers, added up."""
        return [sum(values, 0.0) for values in zip(*map(self.of, range(self.workers)), strict=True)]


class Observations:
    """One set of buckets: what was measured since the last heartbeat, not yet sorted into them.

    Sorting many values at once takes half the time of finding the bucket of each.
    """

    __slots__ = ("_bounds", "_slots", "_start", "_values", "add")

    def __init__(self, slots: list[float], start: int, bounds: tuple[float, ...]) -> None:
        self._slots = slots
        self._start = start
        self._bounds = bounds
        self._values: list[float] = []
        self.add: Callable[[float], None] = self._values.append

    def repeat(self, value: float, count: int) -> None:
        """The same was measured several times."""
        slots, start, bounds = self._slots, self._start, self._bounds
        slots[start + bisect_left(bounds, value)] += count
        slots[start + len(bounds) + 1] += value * count

    def extend(self, values: list[float]) -> None:
        """Several were measured at once; the list is sorted."""
        if not values:
            return
        values.sort()
        slots, start, bounds = self._slots, self._start, self._bounds
        at, below = bisect_left(bounds, values[0]), 0
        while below < len(values) and at < len(bounds):
            count = bisect_right(values, bounds[at], below)
            slots[start + at] += count - below
            at, below = at + 1, count
        slots[start + len(bounds)] += len(values) - below
        slots[start + len(bounds) + 1] += sum(values)

    def fold(self) -> None:
        """Add to the buckets and the sum what was measured one by one."""
        self.extend(self._values)
        self._values.clear()


class Metrics:
    """What one worker records. It is used in the thread of the worker's event loop only.

    Args:
        slots: The shared memory.
        worker: This worker's number; it goes on counting where its predecessor ended.

    Attributes:
        gauges: Tells how many requests are in flight, and how many of them wait.
    """

    def __init__(self, slots: Slots, worker: int) -> None:
        self._shared = slots.of(worker)
        self._values: list[float] = list(self._shared)
        self._slots = slots
        self._all: list[Observations] = []
        self.gauges: Callable[[], tuple[int, int]] = lambda: (0, 0)
        self._codes: list[int] = []
        """Protocol and status of every answer since the last heartbeat, in one number."""
        self._durations = self._observe("modelyard_request_duration_seconds")
        (self._waits,) = self._observe("modelyard_queue_wait_seconds")
        self._decode, self._run, self._encode = self._observe("modelyard_stage_duration_seconds")
        (self._rows,) = self._observe("modelyard_batch_rows")
        (self._requests,) = self._observe("modelyard_batch_requests")
        self.publish()

    def answered(self, protocol: str, status: int, seconds: float) -> None:
        """A scoring request was answered `seconds` after it was whole."""
        number = _PROTOCOL[protocol]
        self._codes.append(number * _SPAN + status)
        self._durations[number].add(seconds)

    def answered_together(self, protocol: str, status: int, seconds: list[float]) -> None:
        """As `answered`, for several requests with one protocol and status."""
        number = _PROTOCOL[protocol]
        self._codes += [number * _SPAN + status] * len(seconds)
        self._durations[number].extend(seconds)

    def scored(self, wait: float, decode: float, encode: float) -> None:
        """A request was scored, alone or with others, after `wait` seconds; times of its own."""
        self._waits.add(wait)
        self._decode.add(decode)
        self._encode.add(encode)

    def scored_together(self, waits: list[float], decode: float, encode: float) -> None:
        """As `scored`, for several requests at once; what decoding and encoding took on average."""
        self._decode.repeat(decode, len(waits))
        self._encode.repeat(encode, len(waits))
        self._waits.extend(waits)

    def ran(self, seconds: float) -> None:
        """`run` was called, for however many requests."""
        self._run.add(seconds)

    def batched(self, requests: int, rows: int) -> None:
        """One call was made for so many requests with so many rows."""
        self._requests.add(requests)
        self._rows.add(rows)

    def refused(self, reason: str) -> None:
        """A request was refused, for one of `REFUSALS`."""
        family = _BY_NAME["modelyard_requests_refused_total"]
        self._values[family.start + REFUSALS.index(reason)] += 1

    def non_finite(self) -> None:
        """An answer had a NaN or an infinity, which JSON has no word for."""
        self._values[_BY_NAME["modelyard_non_finite_answers_total"].start] += 1

    def publish(self) -> None:
        """Let the other workers see the figures."""
        self._count_codes()
        for observations in self._all:
            observations.fold()
        in_flight, waiting = self.gauges()
        self._values[_BY_NAME["modelyard_requests_in_flight"].start] = in_flight
        self._values[_BY_NAME["modelyard_queue_length"].start] = waiting
        self._shared[:] = memoryview(array("d", self._values))

    def hand_over(self) -> None:
        """Leave the slots, with the figures as they are now, to this worker's successor."""
        self.publish()
        self._shared = memoryview(array("d", self._values))

    def _observe(self, name: str) -> list[Observations]:
        family = _BY_NAME[name]
        ends = range(family.start, family.start + family.size, family.width)
        found = [Observations(self._values, start, family.bounds) for start in ends]
        self._all += found
        return found

    def _count_codes(self) -> None:
        start = _BY_NAME["modelyard_requests_total"].start
        for code, count in Counter(self._codes).items():
            number, status = divmod(code, _SPAN)
            known = status if 100 <= status < 600 else 500
            self._values[start + number * len(_STATUSES) + known - 100] += count
        self._codes.clear()

    def text(self, board: Board) -> bytes:
        """The figures of all workers as Prometheus text."""
        self.publish()
        total = self._slots.total()
        lines = [line for family in FAMILIES for line in family.write(total)]
        lines += _of_the_pool(board)
        lines += _of_the_processes(board)
        return "\n".join([*lines, ""]).encode()


def _of_the_pool(board: Board) -> Iterator[str]:
    for name, kind, explained, value in (
        ("modelyard_workers", "gauge", "Workers that the replica should have.", board.workers),
        ("modelyard_workers_ready", "gauge", "Workers that have loaded.", board.ready()),
        (
            "modelyard_worker_restarts_total",
            "counter",
            "Workers that were replaced since the replica began.",
            board.restarts,
        ),
    ):
        yield f"# HELP {name} {explained}"
        yield f"# TYPE {name} {kind}"
        yield sample(name, "", value)


def _of_the_processes(board: Board) -> Iterator[str]:
    pids = [(f'worker="{slot}"', board.pid(slot)) for slot in range(board.workers)]
    for name, kind, explained, measure in (
        (
            "modelyard_process_cpu_seconds_total",
            "counter",
            "Processor time of a worker's process; begins anew with its successor.",
            cpu_seconds,
        ),
        (
            "modelyard_process_resident_memory_bytes",
            "gauge",
            "Memory of a worker's process, what it shares with the others included.",
            resident_bytes,
        ),
    ):
        yield f"# HELP {name} {explained}"
        yield f"# TYPE {name} {kind}"
        for labels, pid in pids:
            value = measure(pid) if pid else None
            if value is not None:
                yield sample(name, labels, value)


def sample(name: str, labels: str, value: float) -> str:
    """One line of the text."""
    return f"{name}{{{labels}}} {_number(value)}" if labels else f"{name} {_number(value)}"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
