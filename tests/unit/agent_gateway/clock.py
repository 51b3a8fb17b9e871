"""An event loop whose time stands still until a test moves it."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from typing import Any


class ManualLoop(asyncio.AbstractEventLoop):
    def __init__(self) -> None:
        self._now = 100.0
        self._order = itertools.count()
        self._due: list[tuple[float, int, Callable[..., Any], tuple[Any, ...]]] = []

    @property
    def timers(self) -> int:
        return len(self._due)

    def time(self) -> float:
        return self._now

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any, **_: Any) -> Any:
        heapq.heappush(self._due, (when, next(self._order), callback, args))
        return object()

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any, **_: Any) -> Any:
        return self.call_at(self._now + delay, callback, *args)

    def call_soon(self, callback: Callable[..., Any], *args: Any, **_: Any) -> Any:
        return self.call_at(self._now, callback, *args)

    def get_debug(self) -> bool:
        return False

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def advance(self, seconds: float) -> None:
        """Let time pass; what falls due runs at its time."""
        end = self._now + seconds
        while self._due and self._due[0][0] <= end:
            when, _, callback, args = heapq.heappop(self._due)
            self._now = max(self._now, when)
            callback(*args)
        self._now = end
