"""Clients that keep on asking at a steady rate, whatever happens, and note how each request ended.

They keep their connections alive and follow HTTP/1.1, and nothing more: nothing is sent again.
"""

from __future__ import annotations

import asyncio
import http.client
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

import uvloop

from bench.runtime.client import Wire

_PATIENCE = 60.0
_HOST = "127.0.0.1"

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Seen:
    """How one request ended."""

    at: float
    """When it was due; `time.monotonic()`."""
    seconds: float
    """Until its end, the time included that its client was late."""
    failure: str
    """Empty when the answer was 200."""


@dataclass
class Steady:
    """So many clients, each with a connection of its own, that ask so often in all.

    The wire may be changed while they ask.
    """

    port: int
    wire: Wire
    rate: float = 200.0
    clients: int = 20
    tls: ssl.SSLContext | None = None
    stays: bool = True
    """Connections are kept for the next request."""
    seen: list[Seen] = field(default_factory=list)

    @contextmanager
    def asking(self) -> Iterator[Steady]:
        """They ask until the end of the context, and then wait for the last answers."""
        self._ended = threading.Event()
        thread = threading.Thread(target=lambda: uvloop.run(self._run()), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            thread.join(2 * _PATIENCE)

    @property
    def failures(self) -> list[Seen]:
        """Requests without the right answer."""
        return [one for one in self.seen if one.failure]

    def p99(self, since: float = 0.0, until: float = float("inf")) -> float:
        """Milliseconds, of the requests that were due in a span of time."""
        times = sorted(one.seconds for one in self.seen if since <= one.at < until)
        return times[len(times) * 99 // 100] * 1e3 if times else 0.0

    async def _run(self) -> None:
        began = time.monotonic()
        pause = self.clients / self.rate
        starts = [began + number / self.rate for number in range(self.clients)]
        await asyncio.gather(*(self._client(start, pause) for start in starts))

    async def _client(self, due: float, pause: float) -> None:
        streams: Streams | None = None
        while not self._ended.is_set():
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            try:
                async with asyncio.timeout(_PATIENCE):
                    streams, failure = await self._ask(streams)
            except (OSError, EOFError, TimeoutError) as error:
                streams, failure = None, f"{type(error).__name__}: {error}"
            self.seen.append(Seen(due, time.monotonic() - due, failure))
            due = max(due + pause, time.monotonic() - 1)  # a long wait is not made up for
        if streams is not None:
            streams[1].close()

    async def _ask(self, streams: Streams | None) -> tuple[Streams | None, str]:
        if streams is not None and streams[0].at_eof():  # the server has ended it
            streams[1].close()
            streams = None
        if streams is None:
            streams = await asyncio.open_connection(_HOST, self.port, ssl=self.tls)
        reader, writer = streams
        try:
            writer.write(encode(self.wire))
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = int(head.partition("\r\ncontent-length:")[2].partition("\r\n")[0] or 0)
            body = await reader.readexactly(length)
        except BaseException:
            writer.close()
            raise
        failure = "" if head[9:12] == "200" else f"{head[9:12]}: {body[:200].decode()}"
        if not self.stays or "\r\nconnection: close" in head:
            writer.close()
            return None, failure
        return streams, failure


def status(port: int, wire: Wire, tls: ssl.SSLContext | None = None) -> int:
    """What one request on a connection of its own is answered with."""
    kind = (
        http.client.HTTPConnection
        if tls is None
        else partial(http.client.HTTPSConnection, context=tls)
    )
    connection = kind(_HOST, port, timeout=_PATIENCE)
    try:
        connection.request("POST", wire.path, wire.body, wire.headers)
        return connection.getresponse().status
    finally:
        connection.close()


def encode(wire: Wire) -> bytes:
    """The request."""
    fields = {"Host": _HOST, "Content-Length": str(len(wire.body)), **wire.headers}
    lines = [f"POST {wire.path} HTTP/1.1", *(f"{key}: {fields[key]}" for key in fields)]
    return "\r\n".join([*lines, "", ""]).encode() + wire.body


def with_key(wire: Wire, key: str) -> Wire:
    """The same request with another key."""
    return replace(wire, headers={**wire.headers, "Authorization": f"Bearer {key}"})
