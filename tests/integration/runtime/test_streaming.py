"""Bodies that are sent while they are made, and taken while they come."""

from __future__ import annotations

import asyncio
import gzip
import logging
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress

import pytest
from tests.integration.runtime.server import Computed, Running, serving
from tests.integration.runtime.wire import Wire, ask, request

from modelyard_runtime.http.sending import Broken
from modelyard_runtime.http.server import Head, HttpError, Limits, Peer, Reply, Request, Response

BLOCK = b"x" * (64 << 10)
CHUNKED = {"transfer-encoding": "chunked"}


class Source:
    """A body in three parts, each of which waits until the test lets it go."""

    def __init__(self) -> None:
        self.go = threading.Semaphore(0)
        self.closed = threading.Event()
        self.made = 0

    async def parts(self) -> AsyncIterator[bytes]:
        try:
            for number in range(3):
                while not self.go.acquire(blocking=False):
                    await asyncio.sleep(0.001)
                self.made += 1
                yield b"part %d" % number
        finally:
            self.closed.set()


@contextmanager
def giving(response: Response) -> Iterator[Running]:
    def handler(request: Request) -> Response:
        return response if request.path == "/stream" else Response(200, b"whole")

    with serving(handler) as running:
        yield running


class TestAnswers:
    def test_are_sent_part_by_part(self) -> None:
        source = Source()
        with giving(Response(200, source.parts())) as running, Wire(running.path) as wire:
            wire.send(request("GET", "/stream") + request("GET", "/next"))
            assert wire.answer().headers["transfer-encoding"] == "chunked"
            for number in range(3):
                source.go.release()
                assert wire.chunk() == b"part %d" % number
            assert wire.chunk() == b""
            assert wire.answer().body == b"whole"
            assert source.closed.is_set()

    def test_of_a_known_length_have_no_chunks(self) -> None:
        source = Source()
        source.go.release(3)
        with (
            giving(Response(200, source.parts(), length=18)) as running,
            Wire(running.path) as wire,
        ):
            wire.send(request("GET", "/stream") + request("GET", "/next"))
            answer = wire.answer()
            assert "transfer-encoding" not in answer.headers
            assert answer.body == b"part 0part 1part 2"
            assert wire.answer().body == b"whole"

    @pytest.mark.parametrize("length", [17, 19])
    def test_of_another_length_than_announced_are_cut_off(
        self, length: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        source = Source()
        source.go.release(3)
        response = Response(200, source.parts(), length=length)
        with giving(response) as running, Wire(running.path) as wire:
            wire.send(request("GET", "/stream"))
            assert len(wire.rest().partition(b"\r\n\r\n")[2]) < length
        assert source.closed.is_set()
        assert "cut off" in caplog.text

    def test_end_with_the_connection_in_http_1_0(self) -> None:
        source = Source()
        source.go.release(3)
        with giving(Response(200, source.parts())) as running, Wire(running.path) as wire:
            wire.send(b"GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            head, _, body = wire.rest().partition(b"\r\n\r\n")
            assert b"connection: close" in head
            assert b"transfer-encoding" not in head
            assert body == b"part 0part 1part 2"

    def test_to_head_are_closed_unsent(self) -> None:
        source = Source()
        with giving(Response(200, source.parts())) as running, Wire(running.path) as wire:
            wire.send(request("HEAD", "/stream") + request("GET", "/next"))
            assert wire.answer(to_head=True).status == 200
            assert wire.answer().body == b"whole"
            assert source.made == 0

    def test_that_fail_midway_are_not_taken_for_whole(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def failing() -> AsyncIterator[bytes]:
            yield b"first"
            raise RuntimeError("secret")

        with giving(Response(200, failing())) as running, Wire(running.path) as wire:
            wire.send(request("GET", "/stream") + request("GET", "/next"))
            assert wire.answer().status == 200
            assert wire.rest() == b"5\r\nfirst\r\n"
        assert "secret" in caplog.text

    def test_whose_failure_is_in_the_log_are_cut_off_in_one_line(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def failing() -> AsyncIterator[bytes]:
            yield b"first"
            raise Broken

        with giving(Response(200, failing())) as running, Wire(running.path) as wire:
            wire.send(request("GET", "/stream"))
            assert wire.answer().status == 200
            assert wire.rest() == b"5\r\nfirst\r\n"
        assert "an answer was cut off" in caplog.text
        assert "Traceback" not in caplog.text

    def test_that_fail_midway_are_cut_in_http_1_0(self) -> None:
        async def failing() -> AsyncIterator[bytes]:
            yield b"first"
            await asyncio.sleep(0.1)
            raise RuntimeError("secret")

        with serving(lambda request: Response(200, failing()), tcp=True) as running:
            client = socket.create_connection(running.listener.getsockname(), 20)
            with client, pytest.raises(ConnectionResetError):
                self.read_to_the_end(client)

    @staticmethod
    def read_to_the_end(client: socket.socket) -> None:
        client.sendall(b"GET /stream HTTP/1.0\r\n\r\n")
        while client.recv(1000):
            pass

    def test_with_forged_headers_are_not_sent(self, caplog: pytest.LogCaptureFixture) -> None:
        source = Source()
        response = Response(200, source.parts(), [(b"x", b"a\r\nb: c")])
        with giving(response) as running:
            assert ask(running.path, request("GET", "/stream")).status == 500

    def test_are_no_faster_than_the_client(self) -> None:
        made = 0

        async def endless() -> AsyncIterator[bytes]:
            nonlocal made
            while True:
                made += 1
                yield BLOCK

        with giving(Response(200, endless())) as running, Wire(running.path) as wire:
            wire.send(request("GET", "/stream"))
            wire.answer()
            for _ in range(3):
                assert wire.chunk() == BLOCK
            time.sleep(0.1)
            assert made < 20

    def test_end_when_the_client_goes(self) -> None:
        closed = threading.Event()

        async def endless() -> AsyncIterator[bytes]:
            try:
                while True:
                    await asyncio.sleep(0.01)
                    yield b"more"
            finally:
                closed.set()

        with giving(Response(200, endless())) as running:
            with Wire(running.path) as wire:
                wire.send(request("GET", "/stream"))
                wire.answer()
                wire.chunk()
            assert closed.wait(20)

    def test_outlast_a_half_close(self) -> None:
        source = Source()
        with giving(Response(200, source.parts())) as running, Wire(running.path) as wire:
            wire.send(request("GET", "/stream"))
            wire.end()
            wire.answer()
            source.go.release(3)
            assert wire.rest().endswith(b"6\r\npart 2\r\n0\r\n\r\n")

    def test_are_finished_by_a_drain(self) -> None:
        source = Source()
        with giving(Response(200, source.parts())) as running, Wire(running.path) as wire:
            wire.send(request("GET", "/stream"))
            wire.answer()
            draining = threading.Thread(target=running.drain, args=[20])
            draining.start()
            source.go.release(3)
            assert wire.rest().endswith(b"0\r\n\r\n")
            draining.join(20)

    def test_may_be_promised(self) -> None:
        source = Source()
        source.go.release(3)
        promised: list[Reply] = []

        def handler(request: Request) -> Reply:
            promised.append(Reply())
            return promised[-1]

        with serving(handler) as running, Wire(running.path) as wire:
            wire.send(request())
            while not promised:
                time.sleep(0.001)
            running.loop.call_soon_threadsafe(promised[0].send, Response(200, source.parts()))
            assert wire.answer().headers["transfer-encoding"] == "chunked"
            assert [wire.chunk() for _ in range(4)] == [b"part 0", b"part 1", b"part 2", b""]


class Sink:
    """A handler that takes a stream, and answers with how much there was, or what went wrong."""

    def __init__(self, most: int = 1 << 30) -> None:
        self.taken = 0
        self.failed: list[BaseException] = []
        self.released = threading.Event()
        self.released.set()
        self._most = most

    def __call__(self, request: Request) -> Response | Reply:
        if request.path == "/refuse":
            raise HttpError(403, "no")
        if request.stream is None:
            return Response(200, b"whole")
        return Computed(self._take(request.stream))

    async def _take(self, stream: AsyncIterator[bytes]) -> Response:
        while not self.released.is_set():
            await asyncio.sleep(0.001)
        try:
            async for part in stream:
                self.taken += len(part)
                if self.taken > self._most:
                    break
        except (HttpError, asyncio.CancelledError) as error:
            self.failed.append(error)
        return Response(200, b"%d" % self.taken)


def streams(head: Head) -> bool:
    return head.path in ("/stream", "/refuse")


NEXT = request("GET", "/next")


class TestRequests:
    @pytest.mark.parametrize("headers", [CHUNKED, {"content-length": "6"}])
    def test_are_taken_as_they_come(self, headers: dict[str, str]) -> None:
        sink = Sink()
        parts = [b"abc", b"def"]
        if headers is CHUNKED:
            parts = [b"3\r\nabc\r\n", b"3\r\ndef\r\n0\r\n\r\n"]
        with serving(sink, wants_stream=streams) as running, Wire(running.path) as wire:
            wire.send(request("PUT", "/stream", headers=headers))
            for part in parts:
                wire.send(part)
                while sink.taken < 3:
                    time.sleep(0.001)
            assert wire.answer().body == b"6"
            wire.send(NEXT)
            assert wire.answer().body == b"whole"

    def test_that_are_whole_at_once_are_followed_by_others(self) -> None:
        body = b"3\r\nabc\r\n0\r\n\r\n"
        streamed = request("PUT", "/stream", headers=CHUNKED) + body
        with serving(Sink(), wants_stream=streams) as running, Wire(running.path) as wire:
            wire.send((NEXT + streamed) * 3 + NEXT)
            bodies = [wire.answer().body for _ in range(7)]
        assert bodies == [b"whole", b"3", b"whole", b"6", b"whole", b"9", b"whole"]

    def test_behind_a_slow_answer_wait(self) -> None:
        sink = Sink()
        sink.released.clear()
        one = request("PUT", "/stream", b"a" * 1000)
        large = request("PUT", "/stream", b"b" * (4 << 20))
        with serving(sink, wants_stream=streams) as running, Wire(running.path) as wire:
            sending = threading.Thread(target=wire.send, args=[one + large + NEXT])
            sending.start()
            time.sleep(0.1)
            sink.released.set()
            assert wire.answer().body == b"1000"
            assert wire.answer().body == b"%d" % (1000 + (4 << 20))
            assert wire.answer().body == b"whole"
            sending.join()

    def test_are_no_faster_than_the_handler(self) -> None:
        sink = Sink()
        sink.released.clear()
        limits = Limits(body_bytes=1 << 30, body_time=0.5)
        with serving(sink, limits, wants_stream=streams) as running, Wire(running.path) as wire:
            wire.send(request("PUT", "/stream", headers={"content-length": str(64 << 20)}))
            sent = self.send_while_it_is_taken(wire)
            assert sent < 16 << 20
            time.sleep(1)  # longer than a body may take, but not for want of sending
            sink.released.set()
            wire.send(b"x" * ((64 << 20) - sent))
            assert wire.answer().body == b"%d" % (64 << 20)

    @staticmethod
    def send_while_it_is_taken(wire: Wire) -> int:
        sent = 0
        wire._socket.settimeout(0.3)
        with suppress(TimeoutError):
            while True:
                sent += wire._socket.send(BLOCK)
        wire._socket.settimeout(20)
        return sent

    def test_may_be_answered_before_they_are_whole(self) -> None:
        sink = Sink(most=1000)
        with serving(sink, wants_stream=streams) as running, Wire(running.path) as wire:
            wire.send(request("PUT", "/stream", headers={"content-length": "100000"}))
            wire.send(b"x" * 50_000)
            answer = wire.answer()
            assert answer.status == 200
            assert answer.headers["connection"] == "close"
            wire.send(b"x" * 50_000 + NEXT)
            assert wire.rest() == b""

    def test_may_be_refused_at_once(self) -> None:
        with serving(Sink(), wants_stream=streams) as running, Wire(running.path) as wire:
            headers = {"content-length": "100000", "expect": "100-continue"}
            wire.send(request("PUT", "/refuse", headers=headers))
            answer = wire.answer()
            assert (answer.status, answer.headers["connection"]) == (403, "close")
            assert wire.rest() == b""

    def test_that_expect_it_are_told_to_continue(self) -> None:
        headers = {"content-length": "3", "expect": "100-continue"}
        with serving(Sink(), wants_stream=streams) as running, Wire(running.path) as wire:
            wire.send(request("PUT", "/stream", headers=headers))
            assert wire.answer().status == 100
            wire.send(b"abc")
            assert wire.answer().body == b"3"

    def test_in_gzip_are_inflated(self) -> None:
        body = gzip.compress(b"x" * 1_000_000)
        with serving(Sink(), wants_stream=streams) as running:
            data = request("PUT", "/stream", body, {"content-encoding": "gzip"})
            assert ask(running.path, data).body == b"1000000"

    @pytest.mark.parametrize(
        ("head", "body", "status"),
        [
            (CHUNKED, b"3\r\nabcd\r\n", 400),
            (CHUNKED, b"3e9\r\n" + b"x" * 1001, 413),
            (CHUNKED | {"content-encoding": "gzip"}, b"3\r\nabc\r\n", 400),
            (CHUNKED | {"content-encoding": "br"}, b"3\r\nabc\r\n", 415),
            ({"content-length": "1001"}, b"", 413),
            (CHUNKED, b"3\r\nabc\r\n", 408),
            ({"content-length": "10"}, b"abc", 408),
        ],
    )
    def test_that_are_wrong_are_refused_midway(
        self, head: dict[str, str], body: bytes, status: int
    ) -> None:
        sink = Sink()
        limits = Limits(body_bytes=1000, body_time=0.2)
        with serving(sink, limits, wants_stream=streams) as running, Wire(running.path) as wire:
            wire.send(request("PUT", "/stream", headers=head) + body)
            answer = wire.answer()
            assert (answer.status, answer.headers["connection"]) == (status, "close")
            assert wire.rest() == b""
            assert [error.status for error in sink.failed if isinstance(error, HttpError)] in (
                [],
                [status],
            )

    def test_that_break_off_end_the_stream(self) -> None:
        sink = Sink()
        with serving(sink, wants_stream=streams) as running:
            with Wire(running.path) as wire:
                wire.send(request("PUT", "/stream", headers=CHUNKED) + b"3\r\nabc\r\n")
                wire.end()
                assert wire.answer().status == 400
            while not sink.failed:
                time.sleep(0.001)

    def test_of_a_client_that_goes_end_the_stream(self) -> None:
        ended = threading.Event()

        async def taking(stream: AsyncIterator[bytes]) -> Response:
            try:
                async for _ in stream:
                    pass
            finally:
                ended.set()
            return Response(200)

        def handler(request: Request) -> Reply:
            assert request.stream is not None
            return Computed(taking(request.stream))

        with serving(handler, wants_stream=streams) as running:
            with Wire(running.path) as wire:
                wire.send(request("PUT", "/stream", headers=CHUNKED) + b"3\r\nabc\r\n")
                time.sleep(0.05)
            assert ended.wait(20)

    def test_may_be_answered_while_they_come(self) -> None:
        def handler(request: Request) -> Response:
            assert request.stream is not None
            return Response(200, request.stream)

        with serving(handler, wants_stream=streams) as running, Wire(running.path) as wire:
            wire.send(request("PUT", "/stream", headers=CHUNKED))
            assert wire.answer().status == 200
            for part in (b"abc", b"def"):
                wire.send(b"3\r\n" + part + b"\r\n")
                assert wire.chunk() == part
            wire.send(b"0\r\n\r\n")
            assert wire.chunk() == b""
            assert wire.rest() == b""


class TestAdmission:
    @staticmethod
    def admit(head: Head, peer: Peer | None) -> Response | None:
        del peer
        if head.headers.get(b"authorization") == b"right":
            return None
        return Response(401, b"no", [(b"www-authenticate", b"Bearer")])

    def handler(self, request: Request) -> Response:
        return Response(200, b"%d" % len(request.body))

    def test_comes_before_a_large_body(self) -> None:
        with serving(self.handler, admit=self.admit) as running, Wire(running.path) as wire:
            wire.send(request("PUT", "/", headers={"content-length": "100000"}))
            answer = wire.answer()
            assert (answer.status, answer.body) == (401, b"no")
            assert answer.headers["www-authenticate"] == "Bearer"
            assert wire.rest() == b""

    def test_comes_before_a_body_may_be_sent(self) -> None:
        headers = {"content-length": "3", "expect": "100-continue"}
        with serving(self.handler, admit=self.admit) as running:
            with Wire(running.path) as wire:
                wire.send(request("PUT", "/", headers=headers))
                assert wire.answer().status == 401
            with Wire(running.path) as wire:
                wire.send(request("PUT", "/", headers=headers | {"authorization": "right"}))
                assert wire.answer().status == 100
                wire.send(b"abc")
                assert wire.answer().body == b"3"

    def test_keeps_the_connection_after_a_small_body(self) -> None:
        with serving(self.handler, admit=self.admit) as running, Wire(running.path) as wire:
            for _ in range(2):
                wire.send(request("PUT", "/", b"abc"))
                assert wire.answer().status == 401
            wire.send(request("PUT", "/", b"abc", {"authorization": "right"}))
            assert wire.answer().body == b"3"


def test_a_bomb_is_refused_and_memory_stays_bounded() -> None:
    bomb = gzip.compress(b"\0" * (64 << 20), 9)
    limits = Limits(body_bytes=1 << 20)
    with serving(lambda request: Response(200, b"taken"), limits) as running:
        for _ in range(3):
            data = request("POST", "/", bomb, {"content-encoding": "gzip"})
            assert ask(running.path, data).status == 413


def test_nothing_is_logged_of_clients_that_go(caplog: pytest.LogCaptureFixture) -> None:
    source = Source()
    with (
        caplog.at_level(logging.WARNING),
        giving(Response(200, source.parts())) as running,
        Wire(running.path) as wire,
    ):
        wire.send(request("GET", "/stream"))
        wire.answer()
    assert caplog.records == []
