"""Memory that the workers of a replica share: who is ready, and who was alive when."""

from __future__ import annotations

import mmap

_SIZE = 8


class Board:
    """One slot for each worker. Made before the first fork; each value has one writer."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._values = memoryview(mmap.mmap(-1, 2 * workers * _SIZE)).cast("d")

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
        return int(sum(self._values[self.workers :]))
