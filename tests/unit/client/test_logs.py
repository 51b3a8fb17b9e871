from __future__ import annotations

import json
from collections.abc import Iterator

import httpx2
import pytest

from modelyard.client.connection import Address, Connection
from modelyard.client.logs import read_log
from modelyard.domain.operation import LogLine
from modelyard.errors import ModelyardError, NotFound, ServerUnreachable


def line(sequence: int, text: str = "text") -> bytes:
    body = {"sequence": sequence, "time": "2026-03-01T12:00:00Z", "source": "r", "text": text}
    return json.dumps(body, ensure_ascii=False).encode() + b"\n"


class Pieces(httpx2.SyncByteStream):
    """A body in pieces, which may end with an exception."""

    def __init__(self, *pieces: bytes | Exception) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece


class Log:
    """Answers one body after the other; says that it ended when none is left."""

    def __init__(self, *bodies: Pieces | Exception | httpx2.Response) -> None:
        self.bodies = list(bodies)
        self.queries: list[dict[str, str]] = []
        self.pauses: list[float] = []

    def _handle(self, request: httpx2.Request) -> httpx2.Response:
        self.queries.append(dict(request.url.params))
        body = self.bodies.pop(0) if self.bodies else Pieces()
        if isinstance(body, Exception):
            raise body
        return body if isinstance(body, httpx2.Response) else httpx2.Response(200, stream=body)

    def read(self, **params: int) -> list[LogLine]:
        transport = httpx2.MockTransport(self._handle)
        connection = Connection(Address("http://127.0.0.1:1", "t"), transport, self.pauses.append)
        return list(read_log(connection, "/log", params, lambda: not self.bodies))


def test_lines_may_be_cut_anywhere() -> None:
    whole = line(1, "a") + line(2, "b")
    log = Log(Pieces(*(whole[i : i + 1] for i in range(len(whole)))))
    assert [(found.sequence, found.text) for found in log.read()] == [(1, "a"), (2, "b")]


@pytest.mark.parametrize("separator", ["\u2028", "\x85", "\x0b", "\u2029"])
def test_only_a_line_feed_ends_a_line(separator: str) -> None:
    body = line(1, f"before{separator}after").replace(b"\\u000b", b"\\u000b")
    assert [found.text for found in Log(Pieces(body)).read()] == [f"before{separator}after"]


def test_a_broken_stream_is_continued_after_its_last_whole_line() -> None:
    log = Log(
        Pieces(line(1), line(2), line(3)[:10], httpx2.ReadError("reset")), Pieces(line(3), line(4))
    )
    assert [found.sequence for found in log.read()] == [1, 2, 3, 4]
    assert [query.get("after") for query in log.queries] == [None, "2", "4"]


def test_silence_opens_the_stream_anew_without_a_pause() -> None:
    log = Log(Pieces(line(1), httpx2.ReadTimeout("silent")), Pieces(line(2)))
    assert [found.sequence for found in log.read()] == [1, 2]
    assert log.pauses == []


def test_what_was_written_between_looking_and_reading_is_read() -> None:
    log = Log(Pieces(line(1)))
    log.read()
    assert [query["follow"] for query in log.queries] == ["true", "false"]


def test_tail_is_asked_for_once() -> None:
    log = Log(Pieces(line(7), httpx2.ReadError("reset")), Pieces(line(8)))
    log.read(tail=1)
    assert [query.get("tail") for query in log.queries] == ["1", None, None]


def test_gives_up_when_nothing_comes_any_more() -> None:
    log = Log(*[httpx2.ConnectError("refused")] * 20)
    with pytest.raises(ServerUnreachable):
        log.read()
    assert len(log.queries) == 5


def test_an_error_is_raised() -> None:
    answer = httpx2.Response(404, json=NotFound("service `x` not found").to_wire())
    with pytest.raises(NotFound):
        Log(answer).read()


def test_something_else_than_lines_is_an_error() -> None:
    with pytest.raises(ModelyardError, match="not a LogLine"):
        Log(Pieces(b"<html>\n")).read()
