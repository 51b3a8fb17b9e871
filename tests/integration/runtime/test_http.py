"""The server core over a socket: order, keep-alive, expectations, back-pressure, drain."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import random
import threading
import time
from collections.abc import Iterator

import pytest
from tests.integration.runtime.server import Running, computed, echo, serving
from tests.integration.runtime.wire import Wire, ask, request

from modelyard_runtime.board import Board
from modelyard_runtime.http.server import Limits, Request, Response, Server
from modelyard_runtime.sharing import Share


@pytest.fixture
def echoing() -> Iterator[Running]:
    with serving(echo) as running:
        yield running


class TestAnswers:
    def test_one_request(self, echoing: Running) -> None:
        answer = ask(echoing.path, request("POST", "/a%20b?c", b"abc"))
        assert (answer.status, answer.body) == (200, b"POST /a b c 3")
        assert answer.headers["date"].endswith(" GMT")
        assert "connection" not in answer.headers

    def test_many_on_one_connection(self, echoing: Running) -> None:
        with Wire(echoing.path) as wire:
            for number in range(3):
                wire.send(request("GET", f"/{number}"))
                assert wire.answer().body == f"GET /{number}  0".encode()

    def test_pipelined_requests_in_order(self, echoing: Running) -> None:
        with Wire(echoing.path) as wire:
            paths = ["/slow", *(f"/{number}" for number in range(2000))]
            wire.send(b"".join(request("GET", path) for path in paths))
            assert [wire.answer().body.split()[1].decode() for _ in paths] == paths

    def test_byte_by_byte(self, echoing: Running) -> None:
        with Wire(echoing.path) as wire:
            for byte in request("POST", "/a", b"abc"):
                wire.send(bytes([byte]))
            assert wire.answer().body == b"POST /a  3"

    def test_a_large_body(self, echoing: Running) -> None:
        answer = ask(echoing.path, request("POST", "/", b"x" * (5 << 20)))
        assert answer.body == b"POST /  %d" % (5 << 20)

    @pytest.mark.parametrize("size", [100_000, 1 << 20, 3_000_001])
    def test_large_bodies_one_after_the_other(self, size: int) -> None:
        def digest(request: Request) -> Response:
            return Response(200, hashlib.sha256(request.body).hexdigest().encode())

        bodies = [random.randbytes(size), b"short", random.randbytes(2 * size), b""]
        with serving(digest) as running, Wire(running.path) as wire:
            sent = b"".join(request("POST", "/", body) for body in bodies)
            sending = threading.Thread(target=wire.send, args=(sent,))
            sending.start()
            for body in bodies:
                assert wire.answer().body == hashlib.sha256(body).hexdigest().encode()
            sending.join()

    def test_a_large_body_that_ends_early(self, echoing: Running) -> None:
        with Wire(echoing.path) as wire:
            wire.send(request("POST", "/", b"x" * (1 << 20))[:-1000])
            wire.end()
            assert wire.answer().status == 400

    def test_a_large_body_that_takes_too_long(self) -> None:
        limits = Limits(body_time=0.2)
        with serving(echo, limits) as running, Wire(running.path) as wire:
            wire.send(request("POST", "/", b"x" * (1 << 20))[:-100_000])
            assert wire.answer().status == 408
            wire.send(b"x" * 50_000)
            assert wire.rest() == b""

    def test_a_client_that_leaves_within_a_large_body(self, echoing: Running) -> None:
        with Wire(echoing.path) as wire:
            wire.send(request("POST", "/", b"x" * (1 << 20))[:-100_000])
        assert ask(echoing.path, request("GET", "/a")).status == 200

    def test_head_has_the_length_and_no_body(self, echoing: Running) -> None:
        with Wire(echoing.path) as wire:
            wire.send(request("HEAD", "/a") + request("GET", "/b"))
            assert wire.answer(to_head=True).headers["content-length"] == "10"
            assert wire.answer().body == b"GET /b  0"

    def test_no_content_has_no_length(self, echoing: Running) -> None:
        answer = ask(echoing.path, request("GET", "/nothing"))
        assert answer.status == 204
        assert "content-length" not in answer.headers

    def test_after_a_half_close(self, echoing: Running) -> None:
        with Wire(echoing.path) as wire:
            wire.send(request("GET", "/slow"))
            wire.end()
            assert wire.rest().endswith(b"GET /slow  0")

    def test_http_1_0(self, echoing: Running) -> None:
        with Wire(echoing.path) as wire:
            wire.send(b"GET / HTTP/1.0\r\n\r\n")
            assert b"\r\nconnection: close\r\n" in wire.rest()

    def test_http_1_0_that_stays(self, echoing: Running) -> None:
        with Wire(echoing.path) as wire:
            wire.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            assert wire.answer().headers["connection"] == "keep-alive"
            wire.send(request())
            assert wire.answer().status == 200

    def test_close_is_honoured(self, echoing: Running) -> None:
        with Wire(echoing.path) as wire:
            wire.send(request(close=True))
            assert wire.answer().headers["connection"] == "close"
            assert wire.rest() == b""

    def test_requests_to_upgrade_stay_as_they_are(self, echoing: Running) -> None:
        upgrade = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c"}
        with Wire(echoing.path) as wire:
            wire.send(request("POST", "/a", b"abc", upgrade) + request("GET", "/b"))
            assert wire.answer().body == b"POST /a  3"
            assert wire.answer().body == b"GET /b  0"


class TestExpectation:
    EXPECT = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\n"

    def test_is_met(self, echoing: Running) -> None:
        with Wire(echoing.path) as wire:
            wire.send(self.EXPECT)
            assert wire.answer().status == 100
            wire.send(b"abc")
            assert wire.answer().body == b"POST /  3"

    def test_is_met_after_the_answers_before(self, echoing: Running) -> None:
        with Wire(echoing.path) as wire:
            wire.send(request("GET", "/slow") + self.EXPECT)
            assert wire.answer().body == b"GET /slow  0"
            assert wire.answer().status == 100

    def test_is_not_met_for_a_body_that_is_too_long(self) -> None:
        with serving(echo, Limits(body_bytes=2)) as running:
            assert ask(running.path, self.EXPECT).status == 413


class TestErrors:
    def test_of_the_handler(self, echoing: Running) -> None:
        with Wire(echoing.path) as wire:
            wire.send(request("GET", "/refuse") + request("GET", "/after"))
            answer = wire.answer()
            assert (answer.status, answer.message) == (418, "teapot")
            assert wire.answer().body == b"GET /after  0"

    def test_that_were_not_meant(self, echoing: Running, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.ERROR):
            answer = ask(echoing.path, request("GET", "/raise"))
        assert answer.status == 500
        assert "secret" not in answer.message
        assert "secret" in caplog.text

    def test_of_many_requests_at_once(self) -> None:
        def handler(request: Request) -> Response:
            raise ValueError("secret")

        with serving(handler) as running, Wire(running.path) as wire:
            wire.send(request() * 1000)
            assert {wire.answer().status for _ in range(1000)} == {500}

    def test_forged_headers_are_not_sent(self, echoing: Running) -> None:
        answer = ask(echoing.path, request("GET", "/forge"))
        assert answer.status == 500
        assert "set-cookie" not in answer.headers

    def test_come_after_the_answers_before(self, echoing: Running) -> None:
        with Wire(echoing.path) as wire:
            wire.send(request("GET", "/slow") + b"NONSENSE\r\n\r\n" + request("GET", "/never"))
            assert wire.answer().body == b"GET /slow  0"
            answer = wire.answer()
            assert (answer.status, answer.headers["connection"]) == (400, "close")
            assert wire.rest() == b""

    def test_stay_the_same_whatever_follows(self) -> None:
        with serving(echo, Limits(body_bytes=1000)) as running, Wire(running.path) as wire:
            wire.send(request("GET", "/slow") + request("POST", "/", b"x" * 1001))
            time.sleep(0.05)
            wire.send(b"x" * 100)
            assert wire.answer().status == 200
            assert wire.answer().status == 413

    def test_are_seen_by_a_client_that_is_still_sending(self) -> None:
        with serving(echo, Limits(body_bytes=1000)) as running, Wire(running.path) as wire:
            wire.send(request("POST", "/", b"x" * (4 << 20)))
            assert wire.answer().status == 413


class TestLeaving:
    def test_a_client_that_leaves_cancels_its_request(self) -> None:
        begun, ended = threading.Event(), threading.Event()

        async def handler(request: Request) -> Response:
            begun.set()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                ended.set()
                raise
            return Response(200)

        with serving(computed(handler)) as running:
            with Wire(running.path) as wire:
                wire.send(request("GET", "/") + b"P")
                assert begun.wait(20)
                running.loop.call_soon_threadsafe(self.cut, running)
            assert ended.wait(20)

    @staticmethod
    def cut(running: Running) -> None:
        for connection in list(running.server._connections):
            connection.abort()


class TestBackPressure:
    def test_a_slow_reader_holds_only_itself_up(self, echoing: Running) -> None:
        with Wire(echoing.path) as slow:
            slow.send(request("GET", "/large") * 20)
            for _ in range(5):
                assert ask(echoing.path, request("GET", "/quick")).status == 200
            for _ in range(20):
                assert len(slow.answer().body) == 8 << 20

    def test_no_more_is_answered_than_is_read(self) -> None:
        answered = 0

        async def handler(request: Request) -> Response:
            nonlocal answered
            answered += 1
            return Response(200, b"x" * (1 << 20))

        with serving(computed(handler)) as running, Wire(running.path) as wire:
            wire.send(request() * 100)
            wire.answer()
            assert answered < 10


class TestConnections:
    def test_beyond_the_limit_wait(self) -> None:
        with (
            serving(echo, Limits(connections=2)) as running,
            Wire(running.path) as first,
            Wire(running.path) as second,
        ):
            for wire in (first, second):
                wire.send(request())
                assert wire.answer().status == 200
            with Wire(running.path) as third:
                third.send(request("GET", "/third"))
                first.send(request("GET", "/last", close=True))
                assert first.answer().status == 200
                assert third.answer().body == b"GET /third  0"

    def test_are_counted(self, echoing: Running) -> None:
        with Wire(echoing.path) as wire:
            wire.send(request())
            wire.answer()
            assert echoing.server.connections == 1

    def test_are_taken_though_another_process_ought_to(self) -> None:
        share = Exceeded()
        with serving(echo, share=share) as running:
            for _ in range(3):
                assert ask(running.path, request()).status == 200
            running.drain(20)
        # the end of one connection may be seen after the start of the next
        assert sorted(share.changes) == [-1] * 3 + [1] * 3

    def test_are_even_among_those_who_accept(self) -> None:
        board = Board(2)
        for slot in range(2):
            board.set_ready(slot, True)
        with serving(echo, share=Share(board, 0)) as running, contextlib.ExitStack() as stack:
            other = Server(echo, share=Share(board, 1))
            start = other.start(stack.enter_context(running.listener.dup()))
            asyncio.run_coroutine_threadsafe(start, running.loop).result(20)
            wires = [stack.enter_context(Wire(running.path)) for _ in range(40)]
            for wire in wires:
                wire.send(request())
                assert wire.answer().status == 200
            counts = running.server.connections, other.connections
            asyncio.run_coroutine_threadsafe(other.drain(0), running.loop).result(20)
        assert sum(counts) == 40
        assert max(counts) - min(counts) <= 3


class Exceeded:
    """There is always somebody who has fewer connections, and never takes one."""

    def __init__(self) -> None:
        self.changes: list[int] = []

    def add(self, change: int) -> None:
        self.changes.append(change)

    def is_exceeded(self) -> bool:
        return True


class TestDrain:
    def test_finishes_what_is_in_flight(self, echoing: Running) -> None:
        with Wire(echoing.path) as wire:
            wire.send(request("GET", "/slow") + request("GET", "/next"))
            self.wait_until_open(echoing)
            echoing.drain(20)
            assert wire.answer().body == b"GET /slow  0"
            last = wire.answer()
            assert (last.body, last.headers["connection"]) == (b"GET /next  0", "close")
            assert wire.rest() == b""

    def test_serves_a_request_that_is_on_its_way(self, echoing: Running) -> None:
        with Wire(echoing.path) as wire:
            wire.send(request())
            wire.answer()
            draining = threading.Thread(target=echoing.drain, args=[20])
            draining.start()
            while not echoing.server.draining:
                time.sleep(0.001)
            wire.send(request("GET", "/late"))
            assert wire.answer().headers["connection"] == "close"
            draining.join(20)

    def test_closes_what_is_idle(self, echoing: Running) -> None:
        with Wire(echoing.path) as wire:
            wire.send(request())
            wire.answer()
            echoing.drain(20)
            assert wire.rest() == b""

    def test_leaves_the_listening_socket_to_others(self, echoing: Running) -> None:
        echoing.drain(0)
        with Wire(echoing.path) as wire:
            wire.send(request())
            connection, _ = echoing.listener.accept()
            with connection:
                connection.settimeout(20)
                assert connection.recv(3) == b"GET"

    def test_cuts_what_takes_too_long(self) -> None:
        async def handler(request: Request) -> Response:
            await asyncio.sleep(60)
            return Response(200)

        with serving(computed(handler)) as running, Wire(running.path) as wire:
            wire.send(request())
            self.wait_until_open(running)
            running.drain(0.1)
            assert wire.rest() == b""

    @staticmethod
    def wait_until_open(running: Running) -> None:
        while not running.server.connections:
            time.sleep(0.001)
        time.sleep(0.05)  # for the request to be read; reading it later fails nothing
