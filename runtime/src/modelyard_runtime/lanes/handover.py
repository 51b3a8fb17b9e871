"""Answers in parts, on their way from where a script makes them to the loop that sends them.

A lane puts one of these into the response of a call that has `parts`. The server asks it for one
part after the other, and closes it when there are no more or the client has gone.
"""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from modelyard_runtime.http.sending import Broken
from modelyard_runtime.streaming import AsyncParts, Parts

_AHEAD = 8
"""Parts that are made before the client has taken the first of them."""


class Relay(ABC):
    """The body of a response: an asynchronous iterator in the event loop of the server.

    Args:
        over: Is called in that loop, once, when nothing is made any more.
    """

    def __init__(self, over: Callable[[], None]) -> None:
        self._over = over
        self._is_over = False

    def __aiter__(self) -> Relay:
        return self

    @abstractmethod
    async def __anext__(self) -> bytes:
        """The next part.

        Raises:
            Broken: There will be none, although the answer is not whole.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """No more parts are wanted."""

    def _end(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._over()


class ThreadRelay(Relay):
    """For parts that are made in the scoring thread, a few ahead of the client.

    Args:
        loop: Of the server.
        patience: Seconds in which the client has to take a part. Others wait for the thread
            meanwhile, so the answer of one that does not is cut off.
        over: As for every relay.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, patience: float, over: Callable[[], None]
    ) -> None:
        super().__init__(over)
        self._loop = loop
        self._patience = patience
        self._made: deque[bytes | None] = deque()
        """None: that was all. What is missing without it makes the answer a broken one."""
        self._room = threading.Semaphore(_AHEAD)
        self._wanted = True
        self._is_broken = False
        self._news = asyncio.Event()

    def fill(self, parts: Parts, working: Callable[[bool], None] = lambda is_working: None) -> None:
        """Make the parts, until the end or until nobody wants them. In the scoring thread.

        Args:
            parts: Makes them; is closed at the end.
            working: Is told when a part begins to be made, and when the client is waited for.
        """
        try:
            for part in parts:
                working(False)
                if not self._room.acquire(timeout=self._patience):
                    self._is_broken = True
                    return
                if not self._wanted:
                    break
                self._made.append(part)
                self._tell(self._news.set)
                working(True)
            self._made.append(None)
        except Broken:
            self._is_broken = True
        finally:
            parts.close()
            self._tell(self._filled)

    def cut(self) -> None:
        """Give up: what is still to be made takes too long. In the event loop."""
        self._is_broken = True
        self._news.set()

    async def __anext__(self) -> bytes:
        while not self._made:
            if self._is_broken:
                raise Broken
            self._news.clear()
            await self._news.wait()
        part = self._made.popleft()
        if part is None:
            raise StopAsyncIteration
        self._room.release()
        return part

    async def aclose(self) -> None:
        """No more parts are wanted: let the thread come back."""
        self._wanted = False
        self._room.release()

    def _filled(self) -> None:
        self._news.set()
        self._end()

    def _tell(self, callback: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop is closed: this process is about to end
            self._loop.call_soon_threadsafe(callback)


class LoopRelay(Relay):
    """For parts that are made in the event loop of the script, one at a time, when it is asked for.

    Args:
        timeout: Seconds for each.
    """

    def __init__(
        self,
        parts: AsyncParts,
        inner: asyncio.AbstractEventLoop,
        timeout: float,
        over: Callable[[], None],
    ) -> None:
        super().__init__(over)
        self._parts = parts
        self._inner = inner
        self._timeout = timeout
        self._making: asyncio.Task[bytes | None] | None = None

    async def __anext__(self) -> bytes:
        future = asyncio.run_coroutine_threadsafe(self._make(), self._inner)
        try:
            part = await asyncio.wait_for(asyncio.wrap_future(future), self._timeout)
        except TimeoutError:
            raise Broken from None
        if part is None:
            raise StopAsyncIteration
        return part

    async def aclose(self) -> None:
        """No more parts are wanted: end the generator."""
        try:
            future = asyncio.run_coroutine_threadsafe(self._close(), self._inner)
            await asyncio.wait_for(asyncio.wrap_future(future), self._timeout)
        finally:
            self._end()

    async def _make(self) -> bytes | None:
        self._making = asyncio.ensure_future(anext(self._parts, None))
        try:
            return await self._making
        finally:
            self._making = None

    async def _close(self) -> None:
        if self._making is not None:
            self._making.cancel()
            await asyncio.wait([self._making])
        await self._parts.aclose()
