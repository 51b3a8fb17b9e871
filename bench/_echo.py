"""The least program that answers: `_echo.py <port or socket> <milliseconds> <bytes>`.

A bare parser on uvloop that sends each body back as JSON, at once, or one after the other with so
many milliseconds for each; what has no body gets so many bytes.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable
from typing import cast

import httptools
import uvloop

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
_BACKLOG = 1024


class Work:
    """What takes time: one request after the other."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._free_at = 0.0

    def then(self, do: Callable[[bytes], None], answer: bytes) -> None:
        """Do the work of one request, and send its answer."""
        if not self._seconds:
            do(answer)
            return
        loop = asyncio.get_running_loop()
        self._free_at = max(self._free_at, loop.time()) + self._seconds
        loop.call_at(self._free_at, do, answer)


class Echo(asyncio.Protocol):
    """One connection; the answers of requests that come together are written one by one."""

    def __init__(self, work: Work, filling: bytes) -> None:
        self._work = work
        self._filling = filling
        self._transport: asyncio.Transport
        self._parser = httptools.HttpRequestParser(self)
        self._body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The client is there."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """The next bytes from the client."""
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._body = b""

    def on_body(self, part: bytes) -> None:
        """The body, or the next part of it."""
        self._body += part

    def on_message_complete(self) -> None:
        """The end of a request."""
        body = self._body or self._filling
        body = self._body or self._filling
        self._work.then(self._transport.write, _HEAD % len(body) + body)


async def main(address: str, seconds: float, filling: bytes) -> None:
    """Serve until killed."""
    loop, work = asyncio.get_running_loop(), Work(seconds)
    if address.isdigit():
        tcp = socket.create_server(("127.0.0.1", int(address)), backlog=_BACKLOG)
        await loop.create_server(lambda: Echo(work, filling), sock=tcp)
    else:
        await loop.create_unix_server(lambda: Echo(work, filling), address, backlog=_BACKLOG)
    await asyncio.sleep(1e6)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], float(sys.argv[2]) / 1e3, bytes(int(sys.argv[3]))))
