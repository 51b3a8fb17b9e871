"""Ends what takes longer than a fixed time, with one timer for all of it.

Everything added has the same time to live, so it falls due in the order it was added: a request
costs one entry instead of a timer of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Deadlines(Generic[T]):
    """Items that are handed to `expire` when they are still here after `seconds`."""

    __slots__ = ("_due", "_expire", "_loop", "_timer", "seconds")

    def __init__(
        self, seconds: float, expire: Callable[[T], None], loop: asyncio.AbstractEventLoop
    ) -> None:
        self.seconds = seconds
        self._expire = expire
        self._loop = loop
        self._due: dict[T, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, item: T) -> None:
        """Start the item's time; it must not be here already."""
        self._due[item] = due = self._loop.time() + self.seconds
        if self._timer is None:
            self._timer = self._loop.call_at(due, self._ring)

    def discard(self, item: T) -> None:
        """The item is done; no error when it is not here."""
        self._due.pop(item, None)

    def _ring(self) -> None:
        self._timer = None
        now = self._loop.time()
        while self._due:
            item, due = next(iter(self._due.items()))
            if due > now:
                self._timer = self._loop.call_at(due, self._ring)
                return
            del self._due[item]
            self._expire(item)
