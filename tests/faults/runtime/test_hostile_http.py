"""Hostile clients of the server core: smuggling, floods, slowness; good clients do not notice."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import time
from collections.abc import Callable, Iterator

import pytest
from tests.integration.runtime.server import Running, echo, serving
from tests.integration.runtime.wire import Wire, ask, request
from tests.unit.runtime.malformed import CHUNKED, HOST, MALFORMED, POST

from modelyard_runtime.http.server import Limits

MEGABYTE = 1 << 20
LIMITS = Limits(
    header_count=50,
    header_bytes=16 << 10,
    url_bytes=4 << 10,
    body_bytes=MEGABYTE,
    header_time=1.0,
    body_time=1.0,
    idle_time=1.0,
    connections=200,
)


@pytest.fixture(scope="module")
def target() -> Iterator[Running]:
    with serving(echo, LIMITS) as running:
        yield running


@pytest.fixture(autouse=True)
def good_client(target: Running) -> Iterator[None]:
    """Served before and after whatever the hostile one does."""
    yield
    assert ask(target.path, request("GET", "/good", close=True)).body == b"GET /good  0"


def responses(data: bytes) -> int:
    return data.count(b"HTTP/1.1 ")


def refused_with(target: Running, data: bytes) -> int:
    """Send it; exactly one answer comes, a JSON message, and the connection is closed."""
    with Wire(target.path) as wire:
        with contextlib.suppress(BrokenPipeError):
            wire.send(data)
        received = wire.rest()
    assert responses(received) == 1, received
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"\r\nconnection: close" in head
    assert list(json.loads(body)) == ["message"]
    assert "Traceback" not in body.decode()
    return int(received.split(b" ")[1])


@pytest.mark.parametrize("data", MALFORMED)
def test_malformed_requests_are_answered_once_and_cut_off(target: Running, data: bytes) -> None:
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: here\r\n\r\n"
    assert refused_with(target, data + smuggled) in (400, 505)


class TestFloods:
    @pytest.mark.parametrize(
        ("data", "status"),
        [
            (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
            (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 100_000 + b"\r\n\r\n", 431),
            (b"GET / HTTP/1.1\r\n" + HOST + b"a" * 100_000 + b": x\r\n\r\n", 431),
            (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n" * 2000 + b"\r\n", 431),
            (POST + b"Content-Length: 1048577\r\n\r\n", 413),
            (POST + b"Content-Length: 999999999999\r\nExpect: 100-continue\r\n\r\n", 413),
            (CHUNKED + b"100001\r\n" + b"a" * (MEGABYTE + 1), 413),
            (CHUNKED + b"1;" + b"a" * 100_000, 400),
            (CHUNKED + b"0\r\nX: " + b"a" * 100_000, 400),
            (CHUNKED + b"0\r\n" + b"X: a\r\n" * 20_000, 400),
        ],
        ids=lambda value: str(value)[:40],
    )
    def test_are_refused(self, target: Running, data: bytes, status: int) -> None:
        assert refused_with(target, data) == status

    def test_empty_lines_are_not_a_request(self, target: Running) -> None:
        with Wire(target.path) as wire:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                for _ in range(300):
                    wire.send(b"\r\n" * 100)
                    time.sleep(0.01)
            assert wire.rest() == b""

    def test_a_flood_of_pipelined_requests_is_answered_in_turn(self, target: Running) -> None:
        with Wire(target.path) as wire:
            wire.send(request("GET", "/n") * 5000)
            for _ in range(5000):
                assert wire.answer().status == 200

    def test_memory_stays_bounded(self, target: Running) -> None:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with contextlib.ExitStack() as stack:
            for _ in range(50):
                wire = stack.enter_context(Wire(target.path))
                with contextlib.suppress(BrokenPipeError):
                    wire.send(CHUNKED + b"100001\r\n" + b"a" * (4 * MEGABYTE))
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
        assert grown < 50 * 3 * MEGABYTE


class TestSlowness:
    @pytest.mark.parametrize(
        "drip",
        [
            pytest.param(lambda: b"GET / HT", id="request line"),
            pytest.param(lambda: b"GET / HTTP/1.1\r\nHost: here\r\nX: ", id="header"),
            pytest.param(lambda: POST + b"Content-Length: 1000\r\n\r\na", id="body"),
            pytest.param(lambda: CHUNKED + b"1\r\na\r\n", id="chunk"),
            pytest.param(lambda: CHUNKED + b"0\r\nX: ", id="trailer"),
        ],
    )
    def test_is_cut_off(self, target: Running, drip: Callable[[], bytes]) -> None:
        with Wire(target.path) as wire:
            wire.send(drip())
            with contextlib.suppress(BrokenPipeError):
                for _ in range(30):
                    wire.send(b"a")
                    time.sleep(0.1)
            assert wire.rest().startswith((b"HTTP/1.1 408 ", b"HTTP/1.1 400 "))

    def test_of_one_who_says_nothing_is_cut_off_without_a_word(self, target: Running) -> None:
        with Wire(target.path) as wire:
            assert wire.rest() == b""

    def test_of_one_who_has_nothing_more_to_say(self, target: Running) -> None:
        with Wire(target.path) as wire:
            wire.send(request())
            assert responses(wire.rest()) == 1

    def test_of_one_who_does_not_read_is_cut_off(self, target: Running) -> None:
        with Wire(target.path) as wire:
            wire.send(request("GET", "/large") * 3)
            deadline = time.monotonic() + 20
            while not target.server.connections and time.monotonic() < deadline:
                time.sleep(0.01)  # it has not been accepted yet
            assert target.server.connections
            while target.server.connections and time.monotonic() < deadline:
                time.sleep(0.05)
            assert target.server.connections == 0

    def test_of_many_leaves_room_again(self, target: Running) -> None:
        with contextlib.ExitStack() as stack:
            for _ in range(LIMITS.connections):
                wire = stack.enter_context(Wire(target.path))
                wire.send(b"GET / HTTP/1.1\r\nX: ")
            assert ask(target.path, request("GET", "/waits")).body == b"GET /waits  0"


class TestLeaving:
    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"G",
            POST,
            POST + b"Content-Length: 5\r\n\r\nab",
            CHUNKED + b"5\r\nab",
            request() * 9,
        ],
    )
    def test_at_any_moment_leaves_nothing_behind(self, target: Running, data: bytes) -> None:
        with Wire(target.path) as wire:
            wire.send(data)
        deadline = time.monotonic() + 20
        while target.server.connections and time.monotonic() < deadline:
            time.sleep(0.01)
        assert target.server.connections == 0

    def test_in_the_middle_of_an_answer(self, target: Running) -> None:
        with Wire(target.path) as wire:
            wire.send(request("GET", "/large"))
            assert wire._socket.recv(1000, socket.MSG_PEEK)
        deadline = time.monotonic() + 20
        while target.server.connections and time.monotonic() < deadline:
            time.sleep(0.01)
        assert target.server.connections == 0
