"""A replica behind a port of this host, as in a container that shares no socket with it."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from tests.integration.gateway.kit import Serving, route

from modelyard.agent.gateway.config import Upstream

pytestmark = pytest.mark.anyio

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Port:
    """What listens on one."""

    def __init__(self, port: int) -> None:
        self.upstream = Upstream(f"127.0.0.1:{port}", "d", 100, f"r{port}")


@asynccontextmanager
async def listening(serve: Serve) -> AsyncIterator[Port]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield Port(server.sockets[0].getsockname()[1])


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while not reader.at_eof():
        try:
            await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            break
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhere")
    writer.close()


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take a request and break the connection off, so that the other end sees a reset."""
    await reader.readuntil(b"\r\n\r\n")
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def test_it_answers() -> None:
    async with listening(answer) as replica, Serving(route(replica)) as gateway:
        client = gateway.client()
        for _ in range(3):
            answered = await client.request("/services/digits/score")
            assert (answered.status, answered.body) == (200, b"here")


async def test_request_that_it_may_have_received_is_not_sent_to_another() -> None:
    async with (
        listening(reset) as broken,
        listening(answer) as sound,
        Serving(route(broken, sound)) as gateway,
    ):
        client = gateway.client()
        statuses = {(await client.request("/services/digits/score")).status for _ in range(6)}
    assert statuses == {200, 502}


async def test_port_where_nobody_listens_is_left_for_another() -> None:
    async with listening(answer) as gone:
        pass
    async with listening(answer) as sound, Serving(route(gone, sound)) as gateway:
        client = gateway.client()
        statuses = [(await client.request("/services/digits/score")).status for _ in range(6)]
    assert statuses == [200] * 6
