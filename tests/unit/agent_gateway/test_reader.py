from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.agent.gateway import reader as reader_module
from modelyard.agent.gateway.known_answers import AnswerHead, KnownAnswers
from modelyard.agent.gateway.reader import AnswerReader, BadAnswer

PLAIN = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 2\r\nDate: now\r\n\r\nhi"


def read(*parts: bytes, bodyless: bool = False) -> AnswerReader:
    reader = AnswerReader(KnownAnswers())
    reader.expect(bodyless=bodyless)
    for part in parts:
        reader.feed(part)
    return reader


def test_an_answer_is_read() -> None:
    reader = read(PLAIN)
    assert (reader.complete, reader.last) == (True, False)
    assert reader.take() == (200, b"x-a: 1\r\n", b"hi")


def test_an_answer_in_single_bytes_is_the_same() -> None:
    reader = read(*(PLAIN[at : at + 1] for at in range(len(PLAIN))))
    assert reader.complete
    assert reader.take() == (200, b"x-a: 1\r\n", b"hi")


def test_one_answer_after_another() -> None:
    reader = read(PLAIN)
    reader.take()
    reader.expect(bodyless=False)
    assert not reader.complete
    reader.feed(b"HTTP/1.1 503 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
    assert (reader.complete, reader.last) == (True, True)
    assert reader.take() == (503, b"", b"")


def test_chunks_are_joined_and_their_framing_is_not_passed_on() -> None:
    reader = read(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n",
        b"3\r\nyou\r\n0\r\n\r\n",
    )
    assert reader.complete
    assert reader.take() == (200, b"", b"hiyou")


def test_fields_about_the_connection_are_dropped() -> None:
    fields = b"Connection: keep-alive\r\nKeep-Alive: 5\r\nServer: x\r\nX-Request-Id: y\r\n"
    reader = read(b"HTTP/1.1 204 No\r\n" + fields + b"\r\n")
    assert reader.complete
    assert reader.take() == (204, b"", b"")


def test_an_interim_answer_is_not_the_answer() -> None:
    reader = read(b"HTTP/1.1 100 Continue\r\nx-no: 1\r\n\r\n")
    assert not reader.complete
    reader.feed(PLAIN)
    assert reader.complete
    assert reader.take() == (200, b"x-a: 1\r\n", b"hi")


def test_a_bodyless_answer_ends_with_its_header_and_the_connection_with_it() -> None:
    reader = read(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n", bodyless=True)
    assert (reader.complete, reader.last) == (True, True)
    assert reader.take() == (200, b"", b"")


def test_an_answer_until_the_end_of_the_connection_is_not_complete() -> None:
    assert not read(b"HTTP/1.1 200 OK\r\n\r\nhalf or whole, who knows").complete


def test_more_than_was_asked_for_spoils_the_connection() -> None:
    reader = read(PLAIN + PLAIN.replace(b"hi", b"no").replace(b"200", b"404"))
    assert (reader.complete, reader.last) == (True, True)
    assert reader.take() == (200, b"x-a: 1\r\n", b"hi")


def test_an_answer_that_was_taken_is_not_kept() -> None:
    reader = read(PLAIN)
    reader.take()
    assert reader.take() == (200, b"", b"")


@pytest.mark.parametrize(
    ("head", "length"),
    [(b"content-length: 300000", 300_000), (b"transfer-encoding: chunked", None)],
)
def test_a_large_answer_is_taken_in_parts(head: bytes, length: int | None) -> None:
    reader = read(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n")
    assert reader.comes_in_parts
    assert reader.length == length
    assert reader.take_parts() == []
    part = b"x" * 150_000
    for _ in range(2):
        reader.feed(part if length else b"249f0\r\n" + part + b"\r\n")
        assert b"".join(reader.take_parts()) == part
    if length is None:
        reader.feed(b"0\r\n\r\n")
    assert (reader.complete, reader.last) == (True, False)


class Parsing(KnownAnswers):
    """Knows no head, so that the parser reads everything."""

    def find(self, raw: bytes) -> AnswerHead | None:
        return None


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    lines = [
        b"Content-Length: 3",
        b"content-length:3 ",
        b"X-A: 1",
        b"x-a:\t1 2 ",
        b"Date: now",
        b"X-Request-Id: y",
        b"Empty:",
        b"Connection: keep-alive",
        b"Connection: close",
        b"Transfer-Encoding: chunked",
        b"Content-Length: 0",
        b"x: \xe9",
        b" folded",
        b"no colon",
        b"x: a\rb",
    ]
    start = draw(
        st.sampled_from(
            [
                b"HTTP/1.1 200 OK",
                b"HTTP/1.1 503 ",
                b"HTTP/1.1 404",
                b"HTTP/1.1 204 No",
                b"HTTP/1.1 304 x",
                b"HTTP/1.1 100 Continue",
                b"HTTP/1.1 2x0 OK",
                b"HTTP/1.0 200 OK",
            ]
        )
    )
    fields = draw(st.lists(st.sampled_from(lines[:7]) | st.sampled_from(lines), max_size=5))
    body = draw(st.sampled_from([b"", b"ab", b"abc", b"abcd", b"3\r\nabc\r\n0\r\n\r\n"]))
    return b"\r\n".join([start, *fields, b"", b""]) + body


@settings(max_examples=500, deadline=None)
@given(
    several=st.lists(answers(), min_size=1, max_size=3),
    cuts=st.lists(st.integers(0, 120), max_size=3),
    bodyless=st.booleans(),
)
def test_the_same_with_the_parser_and_without(
    several: list[bytes], cuts: list[int], bodyless: bool
) -> None:
    known, parsing = KnownAnswers(), Parsing()
    for answer in several:
        at = [0, *sorted(min(cut, len(answer)) for cut in cuts), len(answer)]
        parts = [part for a, b in pairwise(at) if (part := answer[a:b])]
        assert outcome(known, parts, bodyless) == outcome(parsing, parts, bodyless)


def outcome(known: KnownAnswers, parts: list[bytes], bodyless: bool) -> object:
    reader = AnswerReader(known)
    reader.expect(bodyless=bodyless)
    try:
        for part in parts:
            reader.feed(part)
    except BadAnswer:
        # Something is wrong with what follows a complete answer, or with the answer.
        return (reader.take(), True) if reader.complete else None
    if not reader.complete:
        return reader.begun, reader.take_parts()
    return reader.take(), reader.last


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: a\r\n b\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_no_answer_is_said(data: bytes) -> None:
    with pytest.raises(BadAnswer):
        read(data)


def test_too_large_a_body_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "MAX_BODY", 1 << 20)
    with pytest.raises(BadAnswer, match="larger than 1 MiB"):
        read(b"HTTP/1.1 200 OK\r\n\r\n", *[b"x" * 65536] * 17)


def test_too_many_fields_are_refused() -> None:
    with pytest.raises(BadAnswer, match="64 KiB"):
        read(b"HTTP/1.1 200 OK\r\n", *[b"x-%d: %b\r\n" % (n, b"y" * 1000) for n in range(70)])
