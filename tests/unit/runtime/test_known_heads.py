"""Heads that need no parser: which they are, and what is remembered of them."""

from __future__ import annotations

import pytest

from modelyard_runtime.http.known_heads import KnownHeads, Memory
from modelyard_runtime.http.messages import Field, Head, Limits

LIMITS = Limits(header_count=5, header_bytes=1000, url_bytes=100, body_bytes=100)
PLAIN = b"POST /a%20b?c HTTP/1.1\r\nHost: here\r\nX-One: \t1 \r\nContent-Length: 3"


def find(raw: bytes) -> Head | None:
    return KnownHeads(LIMITS).find(raw)


class TestKnownHeads:
    def test_takes_a_plain_one_apart(self) -> None:
        head = find(PLAIN)
        assert head is not None
        assert (head.method, head.path, head.query, head.length) == ("POST", "/a b", "c", 3)
        fields: list[Field] = [(b"host", b"here"), (b"x-one", b"1"), (b"content-length", b"3")]
        assert head.headers.pairs == fields
        assert head.keep_alive

    def test_gives_the_same_object_for_bytes_that_came_twice(self) -> None:
        known = KnownHeads(LIMITS)
        assert known.find(PLAIN) is not None
        head = known.find(PLAIN)
        assert head is not None
        head.memo = "remembered"
        assert known.find(PLAIN) is head
        assert known.find(PLAIN.replace(b"1", b"2")) is not head

    def test_keeps_no_head_with_a_line_that_came_once(self) -> None:
        known = KnownHeads(LIMITS)
        for number in range(1000):
            assert known.find(PLAIN + b"\r\nTrace: %d" % number) is not None
        assert not known.heads.recent

    @pytest.mark.parametrize(
        "line",
        [
            b"Transfer-Encoding: chunked",
            b"Content-Encoding: gzip",
            b"Expect: 100-continue",
            b"Upgrade: h2c",
            b"Connection: close",
            b"Connection: keep-alive, x-one",
            b"Proxy-Connection: close",
            b"Host: there",
            b"Content-Length: 3",
            b"Content-Length: 03",
            b" folded: line",
            b"\tfolded",
            b"no colon",
            b": no name",
            b"spaced : name",
            b"X: a\rb",
            b"X: a\nb",
            b"X: a\0",
            b"X: \x7f",
            b"X: \xe9",
            b"X\xe9: a",
            b"",
        ],
    )
    def test_knows_nothing_of_odd_lines(self, line: bytes) -> None:
        assert find(PLAIN + b"\r\n" + line) is None

    @pytest.mark.parametrize(
        "start",
        [
            b"POST /a HTTP/1.0",
            b"POST /a HTTP/2.0",
            b"POST /a",
            b"POST  /a HTTP/1.1",
            b"post /a HTTP/1.1",
            b"PROPFIND /a HTTP/1.1",
            b"CONNECT a:1 HTTP/1.1",
            b"OPTIONS * HTTP/1.1",
            b"POST http://here/a HTTP/1.1",
            b"POST /a/../b HTTP/1.1",
            b"POST /%zz HTTP/1.1",
            b"POST /" + b"a" * 100 + b" HTTP/1.1",
            b"",
        ],
    )
    def test_knows_nothing_of_odd_request_lines(self, start: bytes) -> None:
        assert find(start + b"\r\nHost: here") is None

    @pytest.mark.parametrize(
        "fields",
        [
            b"",
            b"X: no host",
            b"Host: a/b",
            b"Host:",
            b"Host: here\r\nContent-Length: 101",
            b"Host: here\r\nContent-Length: " + b"9" * 16,
            b"Host: here\r\nContent-Length: -1",
            b"Host: here\r\nX: " + b"a" * 1000,
            b"Host: here" + b"\r\nX: a" * 5,
        ],
    )
    def test_knows_nothing_of_what_is_refused(self, fields: bytes) -> None:
        assert find(b"POST /a HTTP/1.1\r\n" + fields) is None

    def test_leaves_streams_alone(self) -> None:
        known = KnownHeads(LIMITS, lambda head: head.path == "/stream")
        assert known.find(b"POST /stream HTTP/1.1\r\nHost: here") is None
        assert known.find(b"POST /other HTTP/1.1\r\nHost: here") is not None

    def test_an_answer_to_head_is_not_usual(self) -> None:
        head, get = find(b"HEAD / HTTP/1.1\r\nHost: h"), find(b"GET / HTTP/1.1\r\nHost: h")
        assert head is not None
        assert get is not None
        assert (head.usual, get.usual) == (False, True)


class TestMemory:
    def test_forgets_what_was_not_in_use(self) -> None:
        memory: Memory[int] = Memory(10)
        memory.keep(b"used", -1)
        memory.keep(b"unused", -2)
        for number in range(100):
            memory.keep(b"%d" % number, number)
            assert memory.find(b"used") == -1
        assert memory.find(b"unused") is None

    def test_holds_no_more_than_two_generations(self) -> None:
        memory: Memory[int] = Memory(10)
        for number in range(1000):
            memory.keep(b"%d" % number, number)
        held = [number for number in range(1000) if memory.find(b"%d" % number) is not None]
        assert 10 <= len(held) <= 20

    def test_is_bounded_in_bytes(self) -> None:
        memory: Memory[int] = Memory(10_000)
        for number in range(1000):
            memory.keep(b"%04000d" % number, number)
        held = [number for number in range(1000) if memory.find(b"%04000d" % number) is not None]
        assert len(held) * 4000 <= 2 * (256 << 10)

    def test_keeps_nothing_long(self) -> None:
        memory: Memory[int] = Memory(10)
        memory.keep(b"a" * 5000, 1)
        assert memory.find(b"a" * 5000) is None
