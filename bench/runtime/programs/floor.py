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
BINARY = calls.WORKLOAD == "W4"
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
        self.transport.write(answer(call(body if BINARY else orjson.loads(body))))


class BatchedConnection(Connection):
    """Leaves requests to the end of the turn."""

    waiting: list[tuple[asyncio.Transport, list[Any]]] = []

    def score(self, body: bytes) -> None:
        if not self.waiting:
            loop.call_soon(flush)
        self.waiting.append((self.transport, orjson.loads(body)))


def flush() -> None:
    """Score everything that waits in one call."""
    waiting, BatchedConnection.waiting = BatchedConnection.waiting, []
    results = call([row for _, rows in waiting for row in rows])
    start = 0
    for transport, rows in waiting:
        transport.write(answer(results[start : start + len(rows)]))
        start += len(rows)


async def serve(listener: socket.socket, connection: type[Connection]) -> None:
    """Accept and answer until killed."""
    global loop
    loop = asyncio.get_running_loop()
    server = await loop.create_server(connection, sock=listener)
    await server.serve_forever()


def main(port: int, kind: str) -> None:
    """Fork the workers and wait for them."""
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    connection = BatchedConnection if kind == "batched" else Connection
    for _ in range(WORKERS):
        if os.fork() == 0:
            uvloop.run(serve(listener, connection))
    os.wait()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
