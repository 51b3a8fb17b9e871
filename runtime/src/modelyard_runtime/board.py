"""Memory that the processes of a replica share: who is ready, and who was alive when."""

from __future__ import annotations

import mmap

_SIZE = 8


class Board:
    """Three values for each worker, and one for all. Made before the first fork.

    Each value has one writer at a time: a worker, or the process that owns the workers.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._values = memoryview(mmap.mmap(-1, (3 * workers + 1) * _SIZE)).cast("d")

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

    @property
    def restarts(self) -> int:
        """How many workers were replaced since the replica began."""
        return int(self._values[3 * self.workers])

    @restarts.setter
    def restarts(self, count: int) -> None:
        self._values[3 * self.workers] = count
