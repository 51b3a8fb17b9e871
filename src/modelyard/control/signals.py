"""Wakes what waits for a change: long-polls, log followers, the reconciler.

A signal is a counter. Whoever waits names the count it has seen, so nothing is missed between
looking and waiting.
"""

from __future__ import annotations

import asyncio
import threading

from modelyard.errors import Unavailable


class Signal:
    """A counter that threads and event loops can wait on."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._count = 0
        self._waiters: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._closed = False

    @property
    def count(self) -> int:
        """How often it was raised."""
        return self._count

    def notify(self) -> None:
        """Wake everything that waits; callable from any thread."""
        with self._condition:
            self._count += 1
            self._condition.notify_all()
            for loop, event in self._waiters:
                loop.call_soon_threadsafe(event.set)

    def close(self) -> None:
        """Wake everything for the last time: whoever waits asynchronously is turned away."""
        self._closed = True
        self.notify()

    def wait(self, seen: int, timeout: float) -> int:
        """Block this thread until the count differs from `seen` or `timeout` seconds passed."""
        with self._condition:
            self._condition.wait_for(lambda: self._count != seen, timeout)
            return self._count

    async def wait_async(self, seen: int, timeout: float) -> int:
        """The same without blocking the event loop.

        Raises:
            Unavailable: The signal was closed, because the server is stopping.
        """
        waiter = (asyncio.get_running_loop(), asyncio.Event())
        with self._condition:
            self._refuse_closed()
            if self._count != seen:
                return self._count
            self._waiters.add(waiter)
        try:
            async with asyncio.timeout(timeout):
                await waiter[1].wait()
        except TimeoutError:
            pass
        finally:
            with self._condition:
                self._waiters.discard(waiter)
        self._refuse_closed()
        return self._count

    def _refuse_closed(self) -> None:
        if self._closed:
            raise Unavailable("the server is stopping", hint="ask again when it runs")
