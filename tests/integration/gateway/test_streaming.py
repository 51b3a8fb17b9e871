"""Bodies that pass through a gateway while they come, in both directions."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
from collections.abc import AsyncIterator

import pytest
from tests.integration.gateway.kit import BEARER, KEY, Serving, Stage, chunks, route, until

from modelyard_runtime.http.server import Request, Response

pytestmark = pytest.mark.anyio

HEAD = (
    f"POST /services/digits/score HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {KEY.text}\r\n"
).encode()
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
BLOCK = b"x" * (64 << 10)


class Source:
    """A handler whose answer comes part by part, as the test lets it."""

    def __init__(self, length: int | None = None) -> None:
        self.go = asyncio.Semaphore(0)
        self.made = 0
        self.closed = asyncio.Event()
        self._length = length

    async def __call__(self, request: Request) -> Response:
        if request.body == b"whole":
            return Response(200, b"whole")
        return Response(200, self._parts(), [(b"x-kind", b"stream")], self._length)

    async def until_closed(self) -> None:
        """A replica notices that nobody listens when it has something to say."""
        while not self.closed.is_set():
            self.go.release()
            await asyncio.sleep(0.01)

    async def _parts(self) -> AsyncIterator[bytes]:
        try:
            while self._length is None or self.made * len(BLOCK) < self._length:
                await self.go.acquire()
                self.made += 1
                yield b"part" if self._length is None else BLOCK
        finally:
            self.closed.set()


async def ask(gateway: Serving, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(*gateway.address)
    writer.write(data)
    return reader, writer


def post(body: bytes) -> bytes:
    return HEAD + b"content-length: %d\r\n\r\n" % len(body) + body


class TestAnswers:
    async def test_reach_the_client_part_by_part(self, stage: Stage) -> None:
        source = Source()
        replica = await stage.replica("a", source)
        async with Serving(route(replica)) as gateway:
            reader, writer = await ask(gateway, post(b"x"))
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"\r\ntransfer-encoding: chunked\r\n" in head
            assert b"\r\nx-kind: stream\r\n" in head
            assert b"\r\nx-modelyard-deployment: deployment-a\r\n" in head
            parts = chunks(reader)
            for made in range(1, 4):
                source.go.release()
                assert await anext(parts) == b"part"
                assert source.made == made
            writer.close()

    async def test_are_taken_no_faster_than_the_client_reads(self, stage: Stage) -> None:
        source = Source(length=64 << 20)
        replica = await stage.replica("a", source)
        async with Serving(route(replica)) as gateway:
            reader, writer = await ask(gateway, post(b"x"))
            for _ in range(1024):
                source.go.release()
            await asyncio.sleep(0.5)
            assert source.made < 300
            await reader.readuntil(b"\r\n\r\n")
            for _ in range(1024):
                assert await reader.readexactly(len(BLOCK)) == BLOCK
            writer.write(post(b"whole"))
            assert (await reader.readuntil(b"whole")).startswith(b"HTTP/1.1 200 OK")
            assert replica.connections == 1
            writer.close()

    async def test_end_at_the_replica_when_the_client_goes(self, stage: Stage) -> None:
        source = Source()
        replica = await stage.replica("a", source)
        async with Serving(route(replica, max_concurrent_requests=1)) as gateway:
            reader, writer = await ask(gateway, post(b"x"))
            source.go.release()
            await reader.readuntil(b"part")
            writer.close()
            await source.until_closed()
            answer = await gateway.client().request("/services/digits/", b"whole")
            assert answer.body == b"whole"  # its place is free again

    async def test_keep_their_place_until_they_end(self, stage: Stage) -> None:
        source = Source()
        replica = await stage.replica("a", source)
        limits = {"max_concurrent_requests": 1, "max_queue_wait": 0.0}
        async with Serving(route(replica, **limits)) as gateway:
            reader, writer = await ask(gateway, post(b"x"))
            source.go.release()
            await reader.readuntil(b"part")
            answer = await gateway.client().request("/services/digits/", b"whole")
            assert answer.status == 503
            writer.close()

    async def test_may_last_longer_than_an_answer_may_take_to_begin(self, stage: Stage) -> None:
        source = Source()
        replica = await stage.replica("a", source)
        async with Serving(route(replica, scoring_timeout=0.4)) as gateway:
            reader, writer = await ask(gateway, post(b"x"))
            for _ in range(8):
                await asyncio.sleep(0.1)
                source.go.release()
                await reader.readuntil(b"part")
            with pytest.raises(asyncio.IncompleteReadError):  # then it falls silent
                await reader.readuntil(b"part")
            await source.until_closed()
            writer.close()

    async def test_of_an_old_client_end_with_the_connection(self, stage: Stage) -> None:
        async def handler(request: Request) -> Response:
            return Response(200, parts())

        async def parts() -> AsyncIterator[bytes]:
            for number in range(3):
                yield b"%d" % number

        replica = await stage.replica("a", handler)
        async with Serving(route(replica)) as gateway:
            reader, writer = await ask(gateway, post(b"x").replace(b"1.1", b"1.0", 1))
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            assert body == b"012"
            assert b"transfer-encoding" not in head
            writer.close()


class TestRequests:
    async def test_large_ones_pass_unchanged(self, stage: Stage) -> None:
        replica = await stage.replica("a")
        body = BLOCK * 100
        framed = b"".join(b"%x\r\n%b\r\n" % (len(BLOCK), BLOCK) for _ in range(100)) + b"0\r\n\r\n"
        async with Serving(route(replica)) as gateway:
            client = gateway.client()
            for _ in range(3):
                assert (await client.request("/services/digits/", body)).body == body
                assert (await client.raw(CHUNKED + framed)).body == body
            assert replica.connections == 1
        lengths = [request.headers.get(b"content-length") for request in replica.requests]
        assert lengths == [b"%d" % len(body), None] * 3

    async def test_are_passed_on_before_they_are_whole(self, stage: Stage) -> None:
        replica = await stage.replica("a")
        async with Serving(route(replica)) as gateway:
            _, writer = await ask(gateway, CHUNKED)
            for _ in range(10):
                writer.write(b"%x\r\n%b\r\n" % (len(BLOCK), BLOCK))
            await until(lambda: bool(replica.connections))
            assert replica.requests == []
            writer.close()

    async def test_small_chunked_ones_may_be_tried_again(self, stage: Stage) -> None:
        replica = await stage.replica("a")
        async with Serving(route(replica)) as gateway:
            answer = await gateway.client().raw(CHUNKED + b"3\r\nabc\r\n0\r\n\r\n")
        assert answer.body == b"abc"
        assert replica.requests[0].headers.get(b"content-length") == b"3"

    async def test_that_the_client_leaves_unfinished_free_their_place(self, stage: Stage) -> None:
        replica = await stage.replica("a")
        async with Serving(route(replica, max_concurrent_requests=1)) as gateway:
            for _ in range(3):
                _, writer = await ask(gateway, HEAD + b"content-length: 1000000\r\n\r\n")
                for _ in range(8):
                    writer.write(BLOCK)
                await until(lambda: bool(replica.connections))
                writer.transport.abort()
                await until(lambda: not replica.connections)
            assert (await gateway.client().request("/services/digits/", b"x")).body == b"x"
        assert len(replica.requests) == 1

    async def test_that_turn_out_malformed_are_refused(self, stage: Stage) -> None:
        replica = await stage.replica("a")
        async with Serving(route(replica)) as gateway:
            reader, writer = await ask(gateway, CHUNKED)
            for _ in range(10):
                writer.write(b"%x\r\n%b\r\n" % (len(BLOCK), BLOCK))
            await until(lambda: bool(replica.connections))
            writer.write(b"nonsense\r\n")
            assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 400 ")
            await until(lambda: not replica.connections)
            writer.close()
        assert replica.requests == []

    async def test_answered_early_end_their_connection(self, stage: Stage) -> None:
        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno")
                await writer.drain()
                await reader.read()
            writer.close()

        replica = await stage.replica("a")
        await replica.stop()
        server = await asyncio.start_unix_server(script, replica.upstream.socket)
        async with server, Serving(route(replica)) as gateway:
            reader, writer = await ask(gateway, HEAD + b"content-length: 10000000\r\n\r\n")
            for _ in range(8):
                writer.write(BLOCK)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 413 ")
            assert b"\r\nconnection: close\r\n" in head
            assert await reader.read() == b"no"
            writer.close()

    async def test_stay_in_their_coding(self, stage: Stage) -> None:
        replica = await stage.replica("a", None)
        seen: list[Request] = []

        async def handler(request: Request) -> Response:
            seen.append(request)
            return Response(200, request.body)

        replica = await stage.replica("b", handler)
        body = gzip.compress(b"hello")
        async with Serving(route(replica)) as gateway:
            headers = {**BEARER, "content-encoding": "gzip"}
            answer = await gateway.client().request("/services/digits/", body, headers=headers)
        assert answer.body == b"hello"  # the replica has inflated it
        assert answer.status == 200

    async def test_without_a_key_are_refused_before_they_are_sent(self, stage: Stage) -> None:
        replica = await stage.replica("a")
        async with Serving(route(replica)) as gateway:
            head = b"POST /services/digits/ HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\n"
            reader, writer = await ask(gateway, head + b"content-length: 100000000\r\n\r\n")
            answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 401 ")
            body = json.loads(answer.partition(b"\r\n\r\n")[2])
            assert body["code"] == "unauthenticated"
            assert gateway.gateway.take_refused()["digits"].count == 1
            writer.close()
        assert not replica.requests
