"""Bodies of requests while they come: gathered, inflated, or passed on as a stream."""

from __future__ import annotations

import asyncio
import io
import zlib
from collections import deque
from collections.abc import Callable
from typing import Protocol

from modelyard_runtime.http.budget import Holding
from modelyard_runtime.http.messages import HttpError, Refused

HIGH_WATER = 256 << 10
"""Bytes of a stream that wait to be taken, beyond which no more is read."""

_WINDOWS = {b"gzip": 31, b"deflate": 15}
"""What zlib calls the formats."""
_MOST_MEMBERS = 64
"""Of one body. They may be empty, and then cost time that no limit on bytes bounds."""
_PIECE = 64 << 10
"""Most bytes inflated at once, before they are counted."""


class Body(Protocol):
    """Takes the parts of one body."""

    def put(self, part: bytes) -> None:
        """The next part; raises `Refused` when it cannot be taken."""

    def end(self) -> bytes | memoryview:
        """There is no more: the whole body, if it was kept."""


class Gathered:
    """A body that is kept until it is whole."""

    __slots__ = ("_first", "_rest")

    def __init__(self) -> None:
        self._first = b""
        self._rest: io.BytesIO | None = None

    def put(self, part: bytes) -> None:
        """The next part."""
        if self._rest is not None:
            self._rest.write(part)
        elif not self._first:
            self._first = part
        else:
            self._rest = io.BytesIO()
            self._rest.write(self._first)
            self._rest.write(part)

    def end(self) -> bytes:
        """The whole body."""
        return self._first if self._rest is None else self._rest.getvalue()


class Counted:
    """Hands on what there is room for in the budget of the server."""

    __slots__ = ("_body", "_holding")

    def __init__(self, body: Body, holding: Holding) -> None:
        self._body = body
        self._holding = holding

    def put(self, part: bytes) -> None:
        """The next part."""
        self._holding.add(len(part))
        self._body.put(part)

    def end(self) -> bytes | memoryview:
        """The whole body, if it was kept."""
        return self._body.end()


class Inflated:
    """Inflates what it hands on, and refuses what grows beyond the limit or is corrupt."""

    __slots__ = ("_body", "_coding", "_left", "_members", "_too_long", "_zlib")

    def __init__(self, body: Body, coding: bytes, limit: int, too_long: Refused) -> None:
        self._body = body
        self._coding = coding
        self._left = limit
        self._too_long = too_long
        self._zlib = zlib.decompressobj(_WINDOWS[coding])
        self._members = 1

    def put(self, part: bytes) -> None:
        """The next part, deflated."""
        while True:
            inflated = self._inflate(part)
            self._left -= len(inflated)
            if self._left < 0:
                raise self._too_long
            if inflated:
                self._body.put(inflated)
            part = self._zlib.unconsumed_tail or self._zlib.unused_data
            if not part and len(inflated) < _PIECE:
                return

    def end(self) -> bytes | memoryview:
        """The whole body, if it was kept, inflated."""
        if not self._zlib.eof:
            raise self._corrupt()
        return self._body.end()

    def _inflate(self, part: bytes) -> bytes:
        if self._zlib.eof and part:  # another member follows the last one
            self._members += 1
            if self._members > _MOST_MEMBERS:
                raise self._corrupt()
            self._zlib = zlib.decompressobj(_WINDOWS[self._coding])
        try:
            return self._zlib.decompress(part, _PIECE)
        except zlib.error:
            raise self._corrupt() from None

    def _corrupt(self) -> Refused:
        return Refused(400, f"The body is not whole or not in the format {self._coding.decode()}.")


class Streamed:
    """A body that its handler takes part by part, as an async iterator, while it comes."""

    __slots__ = ("_error", "_parts", "_resume", "_size", "_waiting", "ended")

    def __init__(self) -> None:
        self.ended = False
        """Nothing more comes, be it because the body is whole or because it never will be."""
        self._parts: deque[bytes] = deque()
        self._size = 0
        self._error: HttpError | None = None
        self._resume: Callable[[], None] | None = None
        self._waiting: asyncio.Future[None] | None = None

    @property
    def full(self) -> bool:
        """No more should be read until `resume` is called."""
        return self._size >= HIGH_WATER

    def on_room(self, resume: Callable[[], None]) -> None:
        """What to call when there is room again in a stream that was full."""
        self._resume = resume

    def put(self, part: bytes) -> None:
        """The next part."""
        self._parts.append(part)
        self._size += len(part)
        self._wake()

    def end(self) -> bytes:
        """The body is whole."""
        self.ended = True
        self._wake()
        return b""

    def fail(self, error: HttpError) -> None:
        """The body will never be whole. Parts that were not taken yet are forgotten."""
        if not self.ended:
            self.ended = True
            self._error = error
            self._parts.clear()
            self._wake()

    def __aiter__(self) -> Streamed:
        return self

    async def __anext__(self) -> bytes:
        while not self._parts:
            if self._error is not None:
                raise self._error
            if self.ended:
                raise StopAsyncIteration
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        return self._take()

    def _take(self) -> bytes:
        was_full = self.full
        part = self._parts.popleft()
        self._size -= len(part)
        if was_full and not self.full and self._resume is not None:
            self._resume()
        return part

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
