"""Bodies that are passed on while they come, in either direction."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from modelyard_runtime.http.bodies import Streamed
from modelyard_runtime.http.server import HttpError


class AnswerBody(Streamed):
    """The body of an answer on its way to the client, who may go before its end."""

    __slots__ = ("_abandoned",)

    def __init__(self, abandoned: Callable[[], None]) -> None:
        super().__init__()
        self._abandoned = abandoned

    async def aclose(self) -> None:
        """The server takes no more of it."""
        if not self.ended:
            self._abandoned()


class RequestBody:
    """The rest of a client's body on its way to a replica, no faster than that reads.

    Args:
        parts: What is still to come.
        chunked: Frame each part as a chunk, because the length is not known.
        transport: To the replica.
        progress: Called after each part.
    """

    __slots__ = ("_chunked", "_parts", "_progress", "_room", "_task", "_transport", "whole")

    def __init__(
        self,
        parts: AsyncIterator[bytes],
        chunked: bool,
        transport: asyncio.WriteTransport,
        progress: Callable[[], None],
    ) -> None:
        self._parts = parts
        self._chunked = chunked
        self._transport = transport
        self._progress = progress
        self._room: asyncio.Future[None] | None = None
        self.whole = False
        """Everything has been written."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    def cancel(self) -> None:
        """The replica takes no more of it."""
        self._task.cancel()

    def pause(self) -> None:
        """The replica is slow."""
        if self._room is None:
            self._room = asyncio.get_running_loop().create_future()

    def resume(self) -> None:
        """The replica has caught up."""
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    async def _run(self) -> None:
        try:
            async for part in self._parts:
                if part:
                    self._transport.write(chunk(part) if self._chunked else part)
                    self._progress()
                if self._room is not None:
                    await self._room
        except HttpError:
            return  # the server has told the client, and abandons the request
        if self._chunked:
            self._transport.write(b"0\r\n\r\n")
        self.whole = True


def chunk(part: bytes) -> bytes:
    """A part of a body, framed."""
    return b"%x\r\n%b\r\n" % (len(part), part)
