"""How much memory a replica uses, told apart from what its processes share.

Workers are forked and share the loaded model, so adding up resident sizes counts it once a worker.
The true figure (proportional size) is slow to read for large processes; it is read seldom, and what
was shared then is subtracted from the quick figure in between.
"""

from __future__ import annotations

import os
import time

from modelyard.agent.supervisor import system

REFRESH = 2.0
"""Seconds between two reads of the true figure."""

SPARING = 50
"""A read that took long is not repeated before this many times its duration."""


class ToldMemory:
    """The memory of a container, as the process that holds it tells."""

    def __init__(self) -> None:
        self.latest = 0
        """Bytes at the last look."""
        self.peak = 0

    def tell(self, used: object) -> None:
        """Take note of what is told."""
        if isinstance(used, int):
            self.latest = used
            self.peak = max(self.peak, used)

    def look(self, limit: int, now: float) -> int:
        """Bytes in use."""
        return self.latest


class MemoryWatch:
    """Follows the memory of everything below this process."""

    def __init__(self) -> None:
        self._shared = 0
        self._exact_at = 0.0
        self.latest = 0
        """Bytes at the last look."""
        self.peak = 0

    def look(self, limit: int, now: float) -> int:
        """Bytes in use; exact when `limit` seems to be passed."""
        members = system.descendants(os.getpid())
        quick = system.resident(members)
        estimate = max(0, quick - self._shared)
        if now >= self._exact_at or estimate > limit:
            estimate = self._exact(members, quick, now)
        self.latest = estimate
        self.peak = max(self.peak, estimate)
        return estimate

    def _exact(self, members: list[int], quick: int, now: float) -> int:
        began = time.monotonic()
        exact = system.proportional(members)
        took = time.monotonic() - began
        self._exact_at = now + max(REFRESH, SPARING * took)
        if exact is None:
            return quick
        self._shared = max(0, quick - exact)
        return exact
