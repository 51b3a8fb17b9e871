"""Hostile clients of the server core: smuggling, floods, slowness; good clients do not notice."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from tests.integration.runtime.server import Running, computed, echo, serving
from tests.integration.runtime.wire import Wire, ask, request
from tests.unit.runtime.malformed import CHUNKED, HOST, MALFORMED, POST

from modelyard_runtime.http.bodies import HIGH_WATER
from modelyard_runtime.http.server import Head, Limits, Reply, Request, Response

MEGABYTE = 1 << 20
ZIP = zlib.compress(bytes(500_000))
LIMITS = Limits(
    header_count=50,
    header_bytes=16 << 10,
    url_bytes=4 << 10,
    body_bytes=MEGABYTE,
    header_time=1.0,
    body_time=1.0,
    stall_time=1.0,
    idle_time=1.0,
    connections=200,
)


@pytest.fixture(scope="module")
def target() -> Iterator[Running]:
    with serving(echo, LIMITS) as running:
        yield running


def streams(head: Head) -> bool:
    return head.path == "/stream"


def answering(request: Request) -> Response | Reply:
    if request.path == "/endless":
        return Response(200, endless())
    return drained(request) if request.stream is not None else echo(request)


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield b"x" * 10_000


@computed
async def drained(request: Request) -> Response:
    """Takes what comes of a body."""
    assert request.stream is not None
    size = 0
    async for part in request.stream:
        size += len(part)
    return Response(200, b"%d" % size)


@pytest.fixture(scope="module")
def impatient() -> Iterator[Running]:
    limits = Limits(stall_time=0.5, least_rate=1e6)
    with serving(answering, limits, wants_stream=streams) as running:
        yield running


@pytest.fixture(scope="module")
def narrow() -> Iterator[Running]:
    limits = Limits(body_bytes=MEGABYTE, bodies_bytes=2 * MEGABYTE)
    with serving(answering, limits, wants_stream=streams) as running:
        yield running


@pytest.fixture(autouse=True)
def good_client(target: Running) -> Iterator[None]:
    """Served before and after whatever the hostile one does."""
    yield
    assert ask(target.path, request("GET", "/good", close=True)).body == b"GET /good  0"


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


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

    @pytest.mark.parametrize("path", ["/kept", "/stream"])
    @pytest.mark.parametrize(
        "head",
        [
            pytest.param(b"Content-Length: 900000\r\n\r\n" + b"a" * 500_000, id="long"),
            pytest.param(b"Content-Length: 1000\r\n\r\n", id="short"),
            pytest.param(b"Transfer-Encoding: chunked\r\n\r\n900\r\n", id="chunk"),
        ],
    )
    def test_of_a_body_that_trickles_is_cut_off(
        self, impatient: Running, path: str, head: bytes
    ) -> None:
        with Wire(impatient.path) as wire:
            wire.send(b"POST %b HTTP/1.1\r\n" % path.encode() + HOST + head)
            with contextlib.suppress(BrokenPipeError):
                for _ in range(14):
                    wire.send(b"a")
                    time.sleep(0.05)
            assert wire.answer().status == 408

    @pytest.mark.parametrize("path", ["/large", "/endless"])
    def test_of_one_who_reads_little_by_little_is_cut_off(
        self, impatient: Running, path: str
    ) -> None:
        with Wire(impatient.path) as wire:
            wire.send(request("GET", path))
            taken = 0
            with contextlib.suppress(ConnectionResetError):
                while part := wire._socket.recv(100):
                    taken += len(part)
                    time.sleep(0.01 if impatient.server.connections else 0)
            assert taken < 8 * MEGABYTE

    def test_of_many_leaves_room_again(self, target: Running) -> None:
        with contextlib.ExitStack() as stack:
            for _ in range(LIMITS.connections):
                wire = stack.enter_context(Wire(target.path))
                wire.send(b"GET / HTTP/1.1\r\nX: ")
            assert ask(target.path, request("GET", "/waits")).body == b"GET /waits  0"


class TestManyBodies:
    """Each is within its limit, and together they are beyond theirs."""

    @pytest.fixture
    def full(self, narrow: Running) -> Iterator[list[Wire]]:
        """There is room for 200,000 more bytes and no more."""
        with contextlib.ExitStack() as stack:
            wires = [stack.enter_context(Wire(narrow.path)) for _ in range(2)]
            for wire in wires:
                wire.send(POST + b"Content-Length: %d\r\n\r\n" % MEGABYTE)
                wire.send(b"a" * (MEGABYTE - 100_000))
            until(lambda: narrow.server.rules.budget.left == 200_000)
            yield wires
        until(lambda: narrow.server.rules.budget.left == 2 * MEGABYTE)

    @pytest.mark.parametrize(
        "data",
        [
            pytest.param(POST + b"Content-Length: 500000\r\n\r\n", id="announced"),
            pytest.param(CHUNKED + b"80000\r\n" + b"a" * 0x80000, id="chunks"),
            pytest.param(
                POST
                + b"Content-Encoding: deflate\r\nContent-Length: %d\r\n\r\n%b" % (len(ZIP), ZIP),
                id="inflated",
            ),
            pytest.param(
                b"POST /stream HTTP/1.1\r\n" + HOST + b"Content-Length: 500000\r\n\r\n",
                id="streamed",
            ),
        ],
    )
    def test_are_refused_until_there_is_room(
        self, narrow: Running, full: list[Wire], data: bytes
    ) -> None:
        assert refused_with(narrow, data) == 503
        assert ask(narrow.path, request("POST", "/small", b"x" * 16_000)).status == 200
        for wire in full:
            wire.send(b"a" * 100_000)
            assert wire.answer().status == 200
        for _ in range(5):
            assert ask(narrow.path, request("POST", "/", b"a" * MEGABYTE)).status == 200

    def test_are_told_when_to_come_again(self, narrow: Running, full: list[Wire]) -> None:
        with Wire(narrow.path) as wire:
            wire.send(CHUNKED + b"80000\r\n" + b"a" * 0x80000)
            answer = wire.answer()
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")

    def test_one_that_came_in_part_is_refused_too(self, narrow: Running, full: list[Wire]) -> None:
        with Wire(narrow.path) as wire:
            wire.send(POST + b"Content-Length: 190000\r\n\r\n" + b"a" * 150_000)
            until(lambda: narrow.server.rules.budget.left == 50_000)
            full[0].send(b"a" * 40_000)
            until(lambda: narrow.server.rules.budget.left == 10_000)
            with contextlib.suppress(BrokenPipeError):
                wire.send(b"a" * 40_000)
            assert wire.answer().status == 503

    def test_leave_room_when_they_are_answered_or_broken_off(self, narrow: Running) -> None:
        with Wire(narrow.path) as staying:
            for _ in range(10):
                staying.send(request("POST", "/", b"a" * MEGABYTE))
                assert staying.answer().status == 200
                with Wire(narrow.path) as leaving:
                    leaving.send(request("POST", "/", b"a" * MEGABYTE)[:-1])

    def test_that_are_streamed_need_what_is_kept_of_them(self, narrow: Running) -> None:
        with contextlib.ExitStack() as stack:
            for _ in range(6):
                wire = stack.enter_context(Wire(narrow.path))
                wire.send(request("POST", "/stream", b"a" * MEGABYTE)[:-1])
            until(lambda: narrow.server.rules.budget.left == 2 * MEGABYTE - 6 * HIGH_WATER)
            assert ask(narrow.path, request("POST", "/", b"a" * 400_000)).status == 200


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
