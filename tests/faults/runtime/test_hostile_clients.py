"""Hostile clients of a real replica: smuggling, floods, bombs, slowness, and a good one beside."""

from __future__ import annotations

import contextlib
import time
import zlib
from collections.abc import Iterator

import pytest
from tests.faults.runtime.siege import (
    MEGABYTE,
    GoodClient,
    bounded_memory,
    check_refusal,
    only_answer,
    wait_until_cut,
)
from tests.integration.runtime.replica import Replica, replica
from tests.integration.runtime.wire import Answer, Wire, request
from tests.unit.runtime.malformed import CHUNKED, HOST, MALFORMED, POST

CONNECTIONS = 150
LIMITS = {
    "header_time": 1.0,
    "body_time": 1.0,
    "stall_time": 1.0,
    "idle_time": 20.0,
    "connections": CONNECTIONS,
}
SCRIPT = """
def run(data):
    if data == "smuggled": print("it got through")
    return "x" * (4 << 20) if data == "large" else len(data)
"""
SMUGGLED = request("POST", "/score", b"smuggled")


@pytest.fixture(scope="module")
def target() -> Iterator[Replica]:
    with replica(SCRIPT, max_body=MEGABYTE, limits=LIMITS) as running:
        yield running


@pytest.fixture(autouse=True)
def good_client(target: Replica) -> Iterator[None]:
    with GoodClient(lambda: Wire(target.socket), request("POST", "/score", b"good"), b"4"):
        yield


def refusal(target: Replica, data: bytes) -> Answer:
    with Wire(target.socket) as wire:
        with contextlib.suppress(BrokenPipeError):
            wire.send(data)
        answer = only_answer(wire.rest())
    check_refusal(answer)
    return answer


def bomb(coding: int, megabytes: int) -> bytes:
    deflating = zlib.compressobj(9, wbits=coding)
    zeros = bytes(MEGABYTE)
    return b"".join(deflating.compress(zeros) for _ in range(megabytes)) + deflating.flush()


def coded(coding: bytes, body: bytes) -> bytes:
    head = POST + b"Content-Encoding: %b\r\nContent-Length: %d\r\n\r\n"
    return head % (coding, len(body)) + body


@pytest.mark.parametrize("data", MALFORMED)
def test_what_is_no_request_is_refused_once_and_what_follows_is_not_read(
    target: Replica, data: bytes
) -> None:
    assert refusal(target, data + SMUGGLED).status in (400, 505)
    assert "it got through" not in target.log.read_text()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
        (b"GET /score?" + b"a" * 100_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 100_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + HOST + b"a" * 100_000 + b": x\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n" * 2000 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X:\r\n" * 101 + b"\r\n", 431),
        (POST + b"Content-Length: 1048577\r\n\r\n", 413),
        (POST + b"Content-Length: 999999999999\r\nExpect: 100-continue\r\n\r\n", 413),
        (CHUNKED + b"100001\r\n" + b"a" * 0x100001, 413),
        (CHUNKED + b"80000\r\n" + b"a" * 0x80000 + b"\r\n80001\r\n" + b"a" * 0x80001, 413),
        (CHUNKED + b"1\r\na\r\n" * 20_000 + b"x" * 100_000, 400),
        (CHUNKED + b"1;" + b"a" * 100_000, 400),
        (CHUNKED + b"0\r\n" + b"X: a\r\n" * 20_000, 400),
    ],
    ids=lambda value: str(value)[:40],
)
def test_floods_are_refused(target: Replica, data: bytes, status: int) -> None:
    with bounded_memory(target.workers, 16):
        assert refusal(target, data).status == status


def test_a_flood_of_bodies_costs_no_more_memory_than_their_limit(target: Replica) -> None:
    with bounded_memory(target.workers, 40 * 3), contextlib.ExitStack() as stack:
        for _ in range(40):
            wire = stack.enter_context(Wire(target.socket))
            with contextlib.suppress(BrokenPipeError):
                wire.send(CHUNKED + b"100000\r\n" + b"a" * (4 * MEGABYTE))


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (coded(b"gzip", bomb(31, 200)), 413),
        (coded(b"deflate", bomb(15, 200)), 413),
        (coded(b"gzip", bomb(31, 1)[:500]), 400),
        (coded(b"gzip", b"[1]"), 400),
        (coded(b"gzip, gzip", bomb(31, 1)), 415),
        (coded(b"br", b"[1]"), 415),
    ],
    ids=["gzip", "deflate", "cut", "none", "nested", "brotli"],
)
def test_bombs_do_not_go_off(target: Replica, data: bytes, status: int) -> None:
    with bounded_memory(target.workers, 16):
        for _ in range(5):
            with Wire(target.socket) as wire:
                wire.send(data)
                answer = wire.answer()
            check_refusal(answer)
            assert answer.status == status


def test_slow_senders_are_cut_off(target: Replica) -> None:
    beginnings = [
        b"GET / HT",
        b"GET / HTTP/1.1\r\nHost: here\r\nX: ",
        POST + b"Content-Length: 100000\r\n\r\na",
        CHUNKED + b"10000\r\na",
        CHUNKED + b"0\r\nX: ",
    ]
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(Wire(target.socket)) for _ in range(100)]
        for wire, beginning in zip(wires, beginnings * 20, strict=True):
            wire.send(beginning)
        for _ in range(20):
            for wire in wires:
                with contextlib.suppress(BrokenPipeError):
                    wire.send(b"a")
            time.sleep(0.1)
        for wire in wires:
            answer = only_answer(wire.rest())
            check_refusal(answer)
            assert answer.status in (408, 400)


def test_those_who_say_nothing_make_room_again(target: Replica) -> None:
    """There are more of them than connections; the good client waits, and is served."""
    with contextlib.ExitStack() as stack:
        for _ in range(2 * CONNECTIONS + 50):
            stack.enter_context(Wire(target.socket))
        with GoodClient(lambda: Wire(target.socket), request("POST", "/score", b"new"), b"3"):
            pass


def test_slow_readers_are_cut_off_and_hold_one_answer_each(target: Replica) -> None:
    count = 20
    with bounded_memory(target.workers, count * 8 + 16), contextlib.ExitStack() as stack:
        wires = [stack.enter_context(Wire(target.socket)) for _ in range(count)]
        for wire in wires:
            wire.send(request("POST", "/score", b"large") * 10)
        for wire in wires:
            wait_until_cut(wire)
            assert len(wire.rest()) < 4 * MEGABYTE


def test_those_who_leave_at_once_leave_nothing_behind(target: Replica) -> None:
    for data in (b"P", POST, POST + b"Content-Length: 9\r\n\r\nab", SMUGGLED[:-3]) * 20:
        with Wire(target.socket) as wire:
            wire.send(data)
