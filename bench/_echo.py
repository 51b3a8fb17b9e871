"""The least program that answers: `python -m bench._echo <port or socket> [milliseconds]`.

A bare parser on uvloop that sends each body back as JSON, at once or after so many milliseconds.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import cast

import httptools
import uvloop

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
_BACKLOG = 1024


class Echo(asyncio.Protocol):
    """One connection; the answers of requests that come together are written one by one."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
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
        answer = _HEAD % len(self._body) + self._body
        if self._delay:
            asyncio.get_running_loop().call_later(self._delay, self._transport.write, answer)
        else:
            self._transport.write(answer)


async def main(address: str, delay: float) -> None:
    """Serve until killed."""
    loop = asyncio.get_running_loop()
    if address.isdigit():
        tcp = socket.create_server(("127.0.0.1", int(address)), backlog=_BACKLOG)
        await loop.create_server(lambda: Echo(delay), sock=tcp)
    else:
        await loop.create_unix_server(lambda: Echo(delay), address, backlog=_BACKLOG)
    await asyncio.sleep(1e6)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], float(sys.argv[2]) / 1e3 if len(sys.argv) > 2 else 0.0))
