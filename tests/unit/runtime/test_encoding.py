"""Heads of answers."""

from __future__ import annotations

import pytest

from modelyard_runtime.http.encoding import date_field, encode_head, framing, persistence
from modelyard_runtime.http.messages import Response

DATE = b"date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"


def head(response: Response, keep_alive: bool = True, version: str = "1.1") -> bytes:
    assert isinstance(response.body, bytes)
    framed = framing(response.status, len(response.body))
    return encode_head(response, DATE, framed + persistence(keep_alive, version))


class TestHead:
    def test_has_length_and_date(self) -> None:
        assert head(Response(200, b"abc", [(b"a", b"b"), (b"c", b"d")])) == (
            b"HTTP/1.1 200 OK\r\n" + DATE + b"content-length: 3\r\na: b\r\nc: d\r\n\r\n"
        )

    def test_may_have_no_fields_of_its_own(self) -> None:
        assert head(Response(200)) == (b"HTTP/1.1 200 OK\r\n" + DATE + b"content-length: 0\r\n\r\n")

    def test_says_that_the_connection_is_closed(self) -> None:
        assert b"connection: close\r\n" in head(Response(200), keep_alive=False)

    def test_tells_http_1_0_that_it_stays(self) -> None:
        assert b"connection: keep-alive\r\n" in head(Response(200), version="1.0")

    def test_of_no_content_has_no_length(self) -> None:
        assert b"content-length" not in head(Response(204))

    def test_announces_chunks_when_there_is_no_length(self) -> None:
        assert framing(200, None) == b"transfer-encoding: chunked\r\n"
        assert framing(204, None) == b""

    def test_of_an_unknown_status_is_well_formed(self) -> None:
        assert head(Response(299)).startswith(b"HTTP/1.1 299 \r\n")

    @pytest.mark.parametrize("value", [b"a\r\nset-cookie: b", b"a\nb", b"a\rb", b"a\0b"])
    @pytest.mark.parametrize("in_name", [True, False])
    def test_refuses_forged_fields(self, value: bytes, in_name: bool) -> None:
        field = (value, b"x") if in_name else (b"x", value)
        with pytest.raises(ValueError, match="line break"):
            head(Response(200, b"", [field]))


def test_date_is_that_of_the_rfc() -> None:
    assert date_field(784111777) == b"date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
