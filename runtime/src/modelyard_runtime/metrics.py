"""What a worker counts and measures, written down where every process of its replica sees it.

Each worker has its own slots and is their only writer: there are no locks. It notes what it
measures and sorts that into its slots at every heartbeat and scrape. Any worker can answer for all.
"""

from __future__ import annotations

import time
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterator

from modelyard_runtime.board import Board
from modelyard_runtime.families import BY_NAME, FAMILIES, PROTOCOLS, REFUSALS, STATUSES, sample
from modelyard_runtime.processes import resident_bytes
from modelyard_runtime.slots import Slots

_SPAN = 1000
_PROTOCOL = {name: number for number, name in enumerate(PROTOCOLS)}
_CPU = BY_NAME["modelyard_cpu_seconds_total"].start


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
        self._cpu_before = self._values[_CPU]
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
        family = BY_NAME["modelyard_requests_refused_total"]
        self._values[family.start + REFUSALS.index(reason)] += 1

    def non_finite(self) -> None:
        """An answer had a NaN or an infinity, which JSON has no word for."""
        self._values[BY_NAME["modelyard_non_finite_answers_total"].start] += 1

    def publish(self) -> None:
        """Let the other workers see the figures."""
        self._count_codes()
        for observations in self._all:
            observations.fold()
        self._values[_CPU] = self._cpu_before + time.process_time()
        in_flight, waiting = self.gauges()
        self._values[BY_NAME["modelyard_requests_in_flight"].start] = in_flight
        self._values[BY_NAME["modelyard_queue_length"].start] = waiting
        self._shared[:] = memoryview(array("d", self._values))

    def hand_over(self) -> None:
        """Leave the slots, with the figures as they are now, to this worker's successor."""
        self.publish()
        self._shared = memoryview(array("d", self._values))

    def _observe(self, name: str) -> list[Observations]:
        family = BY_NAME[name]
        ends = range(family.start, family.start + family.size, family.width)
        found = [Observations(self._values, start, family.bounds) for start in ends]
        self._all += found
        return found

    def _count_codes(self) -> None:
        start = BY_NAME["modelyard_requests_total"].start
        for code, count in Counter(self._codes).items():
            number, status = divmod(code, _SPAN)
            known = status if 100 <= status < 600 else 500
            self._values[start + number * len(STATUSES) + known - 100] += count
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
    name = "modelyard_process_resident_memory_bytes"
    yield f"# HELP {name} Memory of a worker's process, what it shares with the others included."
    yield f"# TYPE {name} gauge"
    for slot in range(board.workers):
        pid = board.pid(slot)
        value = resident_bytes(pid) if pid else None
        if value is not None:
            yield sample(name, f'worker="{slot}"', value)
