"""Memory that the processes of a replica share: who is ready, and who was alive when."""

from __future__ import annotations

import mmap

_SIZE = 8


class Board:
    """Four values for each worker, and one for all. Made before the first fork.

    Each value has one writer at a time: a worker, or the process that owns the workers.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._values = memoryview(mmap.mmap(-1, (4 * workers + 1) * _SIZE)).cast("d")

    def beat(self, slot: int, now: float) -> None:
        """A worker's event loop has turned at `now` (monotonic)."""
        self._values[slot] = now

    def last_beat(self, slot: int) -> float:
        """When a worker's event loop last turned, or 0 if it has not."""
        return self._values[slot]

    def set_ready(self, slot: int, ready: bool) -> None:
        """A worker has loaded its model, or is gone."""
        self._values[self.workers + slot] = ready

    def ready(self) -> int:
        """How many workers have loaded their model."""
        return int(sum(self._values[self.workers : 2 * self.workers]))

    def set_pid(self, slot: int, pid: int) -> None:
        """A process has become a worker; 0: it is gone."""
        self._values[2 * self.workers + slot] = pid

    def pid(self, slot: int) -> int:
        """The process that is a worker, or 0."""
        return int(self._values[2 * self.workers + slot])

    def set_connections(self, slot: int, count: int) -> None:
        """How many connections a worker has."""
        self._values[3 * self.workers + slot] = count

    def fewest_connections(self) -> int:
        """How many the worker has that has the fewest of those that have loaded; 0: none has."""
        counts = self._values[3 * self.workers : 4 * self.workers]
        ready = self._values[self.workers : 2 * self.workers]
        return int(
            min((n for n, is_ready in zip(counts, ready, strict=True) if is_ready), default=0)
        )

    @property
    def restarts(self) -> int:
        """How many workers were replaced since the replica began."""
        return int(self._values[4 * self.workers])

    @restarts.setter
    def restarts(self, count: int) -> None:
        self._values[4 * self.workers] = count
