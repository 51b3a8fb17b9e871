"""The least program that could answer: no keys, no checks, no metrics, no routes.

`python floor.py PORT single|batched`. Two processes, forked after loading, accept from one
listening socket. `single` calls the model for each request, `batched` once for all that arrived in
one turn of the event loop.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from typing import Any

import calls
import httptools
import orjson
import uvloop

WORKERS = 2
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
call = calls.load()


def answer(value: Any) -> bytes:
    """A whole answer."""
    body = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    return HEAD % (len(body), body)


class Connection(asyncio.Protocol):
    """Answers each request with a call of its own."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.data_received = httptools.HttpRequestParser(self).feed_data

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport

    def on_body(self, part: bytes) -> None:
        self.parts.append(part)

    def on_message_complete(self) -> None:
        body = b"".join(self.parts)
        self.parts = []
        self.score(body)

    def score(self, body: bytes) -> None:
        self.transport.write(answer(call(orjson.loads(body))))


class BatchedConnection(Connection):
    """Leaves requests to the end of the turn."""

    waiting: list[tuple[asyncio.Transport, list[Any]]] = []

    def score(self, body: bytes) -> None:
        if not self.waiting:
            loop.call_soon(flush)
        self.waiting.append((self.transport, orjson.loads(body)))


class TensorConnection(asyncio.BufferedProtocol):
    """Has bodies of a tensor's size written to where they are read from."""

    ROOM = (1 << 20) + (1 << 16)

    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(self.ROOM))
        self.filled = self.end = 0

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport

    def get_buffer(self, hint: int) -> memoryview:
        return self.buffer[self.filled :]

    def buffer_updated(self, count: int) -> None:
        self.filled += count
        if not self.end:
            head = bytes(self.buffer[: min(self.filled, 1 << 12)])
            self.begin = head.find(b"\r\n\r\n") + 4
            if self.begin == 3:
                return
            parser = httptools.HttpRequestParser(self)
            parser.feed_data(head[: self.begin])
        if self.filled >= self.end:
            self.transport.write(answer(call(self.buffer[self.begin : self.end])))
            self.filled = self.end = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"content-length":
            self.end = self.begin + int(value)


def flush() -> None:
    """Score everything that waits in one call."""
    waiting, BatchedConnection.waiting = BatchedConnection.waiting, []
    results = call([row for _, rows in waiting for row in rows])
    start = 0
    for transport, rows in waiting:
        transport.write(answer(results[start : start + len(rows)]))
        start += len(rows)


async def serve(listener: socket.socket, connection: type[asyncio.BaseProtocol]) -> None:
    """Accept and answer until killed."""
    global loop
    loop = asyncio.get_running_loop()
    server = await loop.create_server(connection, sock=listener)
    await server.serve_forever()


def main(port: int, kind: str) -> None:
    """Fork the workers and wait for them."""
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    connection: type[asyncio.BaseProtocol] = {
        "single": TensorConnection if calls.WORKLOAD == "W4" else Connection,
        "batched": BatchedConnection,
    }[kind]
    for _ in range(WORKERS):
        if os.fork() == 0:
            uvloop.run(serve(listener, connection))
    os.wait()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
