"""Writes answers to a client: whole ones, and bodies that are sent while they are made."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import AsyncIterator, Callable

from modelyard_runtime.http.encoding import LAST_CHUNK

_log = logging.getLogger("modelyard.http")

_JOINED = 64 << 10
"""Most bytes that are copied to be written in one piece with what frames them."""
_SMALL = 16 << 10
_NO_LINGER = struct.pack("ii", 1, 0)
"""Lets a socket end with a reset."""
_GATHERED = 64
"""Most answers that are kept to be written in one piece, if they are small."""


class Broken(Exception):
    """What makes the parts has failed, and that is in the log: the answer cannot be finished."""


class Outbox:
    """Writes whole answers, several at once when more of them are about to follow."""

    __slots__ = ("_gathered", "_transport", "gathering")

    def __init__(self, transport: asyncio.WriteTransport) -> None:
        self.gathering = False
        """Keep what is written until `flush`."""
        self._transport = transport
        self._gathered: list[bytes] = []

    def write(self, head: bytes, body: bytes) -> None:
        """Write an answer, after those before."""
        if len(body) >= _JOINED:
            self.flush()
            self._transport.writelines((head, body))
        elif not self.gathering:
            self._transport.write(head + body)
        else:
            self._gathered.append(head + body)
            if len(self._gathered) >= _GATHERED or len(body) >= _SMALL:
                self.flush()

    def flush(self) -> None:
        """Write what is kept."""
        if self._gathered:
            data = b"".join(self._gathered)
            self._gathered.clear()
            self._transport.write(data)


class BodySender:
    """One body on its way. The iterator is always closed in the end, if it can be.

    Args:
        parts: Gives the body. Empty parts are left out.
        length: Bytes that it must give, if they were announced.
        chunked: Frame each part as a chunk.
        transport: Where to.
        finished: Is told whether the body was sent as a whole, unless the sender was cancelled.
    """

    __slots__ = (
        "_begun",
        "_chunked",
        "_finished",
        "_left",
        "_parts",
        "_room",
        "_task",
        "_transport",
    )

    def __init__(
        self,
        parts: AsyncIterator[bytes],
        length: int | None,
        chunked: bool,
        transport: asyncio.WriteTransport,
        finished: Callable[[bool], None],
    ) -> None:
        self._parts = parts
        self._left = length
        self._chunked = chunked
        self._transport = transport
        self._finished = finished
        self._begun = False
        self._room: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None]

    def start(self, *, mute: bool) -> None:
        """Begin; a mute sender only closes the iterator, for an answer that has no body."""
        work = self._mute() if mute else self._run()
        self._task = asyncio.get_running_loop().create_task(work)

    def cancel(self) -> None:
        """The client has gone."""
        self._task.cancel()
        if not self._begun:  # nor will it begin, to close the iterator
            self.discard()

    def pause(self) -> None:
        """The client is slow: ask for no further part."""
        if self._room is None:
            self._room = asyncio.get_running_loop().create_future()

    def resume(self) -> None:
        """The client has caught up."""
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    def discard(self) -> None:
        """Close the iterator, unused, and tell nobody."""
        self._task = asyncio.get_running_loop().create_task(self._close())

    async def _mute(self) -> None:
        self._begun = True
        await self._close()
        self._finished(True)

    async def _run(self) -> None:
        self._begun = True
        try:
            whole = await self._send_all()
        finally:
            await self._close()
        self._finished(whole)

    async def _send_all(self) -> bool:
        try:
            async for part in self._parts:
                if part:
                    self._send(part)
                if self._room is not None:
                    await self._room
            if self._left:
                raise ValueError(f"the body of an answer ended {self._left} bytes early")
        except Broken:  # why is in the log already, with the id of the request
            _log.error("an answer was cut off")
            return False
        except Exception as error:
            _log.error("an answer was cut off", exc_info=error)
            return False
        if self._chunked:
            self._transport.write(LAST_CHUNK)
        return True

    def _send(self, part: bytes) -> None:
        if self._left is not None:
            if len(part) > self._left:
                raise ValueError("the body of an answer is longer than was announced")
            self._left -= len(part)
        if not self._chunked:
            self._transport.write(part)
        elif len(part) < _JOINED:
            self._transport.write(b"%x\r\n%b\r\n" % (len(part), part))
        else:
            self._transport.writelines((b"%x\r\n" % len(part), part, b"\r\n"))

    async def _close(self) -> None:
        aclose = getattr(self._parts, "aclose", None)
        if aclose is None:
            return
        try:
            await aclose()
        except Exception as error:
            _log.error("an answer could not be closed", exc_info=error)


def reset(transport: asyncio.WriteTransport) -> None:
    """End a connection so that nobody takes what was sent for the whole; over TCP, with a reset."""
    sock = transport.get_extra_info("socket")
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()
