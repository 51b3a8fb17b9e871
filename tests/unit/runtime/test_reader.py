"""The request reader: what is read and what is refused, wherever the bytes are cut."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.runtime.malformed import CHUNKED, HOST, MALFORMED, POST

from modelyard_runtime.messages import Limits, Refused, Request
from modelyard_runtime.reader import BODY, HEAD, IDLE, RequestReader, Rules

LIMITS = Limits(header_count=10, header_bytes=1000, url_bytes=500, body_bytes=100)


def read(*parts: bytes, limits: Limits = LIMITS) -> list[Request]:
    reader = RequestReader(Rules(limits))
    for part in parts:
        reader.feed(part)
    return list(reader.ready)


def refusal(*parts: bytes, limits: Limits = LIMITS) -> Refused:
    with pytest.raises(Refused) as refused:
        read(*parts, limits=limits)
    return refused.value


class TestReads:
    def test_a_whole_request(self) -> None:
        (request,) = read(
            b"PUT /a%20b?c=d HTTP/1.1\r\nHost: here\r\nX-One: 1 \r\nEmpty:\r\n"
            b"Content-Length: 3\r\n\r\nabc"
        )
        assert (request.method, request.path, request.query) == ("PUT", "/a b", "c=d")
        assert request.headers.pairs == [
            (b"host", b"here"),
            (b"x-one", b"1"),
            (b"empty", b""),
            (b"content-length", b"3"),
        ]
        assert request.body == b"abc"
        assert type(request.body) is bytes
        assert request.version == "1.1"
        assert request.keep_alive

    def test_chunks_without_their_framing(self) -> None:
        (request,) = read(CHUNKED + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n")
        assert request.body == b"abcde"

    def test_trailers_are_dropped(self) -> None:
        (request,) = read(CHUNKED + b"1\r\na\r\n0\r\nX: y\r\n\r\n")
        assert request.headers.get(b"x") is None
        assert request.body == b"a"

    def test_several_at_once(self) -> None:
        one = POST + b"Content-Length: 1\r\n\r\n"
        requests = read(one + b"a" + one + b"b" + b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        assert [request.body for request in requests] == [b"a", b"b", b""]

    def test_http_1_0_without_host(self) -> None:
        (request,) = read(b"GET / HTTP/1.0\r\n\r\n")
        assert request.version == "1.0"
        assert not request.keep_alive

    @pytest.mark.parametrize(
        ("head", "kept"),
        [
            (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", False),
            (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", True),
        ],
    )
    def test_whether_the_connection_stays(self, head: bytes, kept: bool) -> None:
        assert read(head)[0].keep_alive is kept

    def test_body_of_exactly_the_limit(self) -> None:
        (request,) = read(POST + b"Content-Length: 100\r\n\r\n" + b"a" * 100)
        assert len(request.body) == 100

    @pytest.mark.parametrize(
        "framed",
        [
            b"Content-Length: 5\r\n\r\nhello",
            b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        ],
    )
    def test_body_of_a_request_to_upgrade(self, framed: bytes) -> None:
        upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        after = b"GET /after HTTP/1.1\r\n" + HOST + b"\r\n"
        first, second = read(b"PUT / HTTP/1.1\r\n" + HOST + upgrade + framed + after)
        assert (first.method, first.body) == ("PUT", b"hello")
        assert second.path == "/after"

    @given(
        cuts=st.lists(st.integers(0, 400), max_size=12),
        framed=st.sampled_from(
            [
                b"Content-Length: 5\r\n\r\nhello",
                b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x\r\nllo\r\n0\r\nT: t\r\n\r\n",
                b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\nhello",
            ]
        ),
    )
    def test_the_same_wherever_it_is_cut(self, cuts: list[int], framed: bytes) -> None:
        whole = (b"POST /score?a=b HTTP/1.1\r\nX-A: 1\r\n" + HOST + framed) * 2
        at = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
        parts = [whole[start:end] for start, end in pairwise(at)]
        assert read(*parts) == read(whole)
        assert [request.body for request in read(*parts)] == [b"hello", b"hello"]


class TestPhase:
    def test_follows_the_message(self) -> None:
        reader = RequestReader(Rules(LIMITS))
        seen = [reader.phase]
        for part in (
            b"\r\n",
            b"P",
            b"OST / HTTP/1.1\r\n",
            HOST,
            b"Content-Length: 2\r\n\r\n",
            b"a",
        ):
            reader.feed(part)
            seen.append(reader.phase)
        reader.feed(b"b")
        assert [*seen, reader.phase] == [IDLE, IDLE, HEAD, HEAD, HEAD, BODY, BODY, IDLE]

    def test_expectation_lasts_until_the_body_is_there(self) -> None:
        reader = RequestReader(Rules(LIMITS))
        reader.feed(POST + b"Content-Length: 1\r\nExpect: 100-Continue\r\n\r\n")
        assert reader.expects_continue
        reader.feed(b"a")
        assert not reader.expects_continue

    def test_no_expectation_in_http_1_0(self) -> None:
        reader = RequestReader(Rules(LIMITS))
        reader.feed(b"POST / HTTP/1.0\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n")
        assert not reader.expects_continue


class TestRefuses:
    @pytest.mark.parametrize("data", MALFORMED)
    def test_malformed(self, data: bytes) -> None:
        assert refusal(data).status in (400, 505)

    @pytest.mark.parametrize("version", [b"0.9", b"2.0"])
    def test_other_versions(self, version: bytes) -> None:
        assert refusal(b"GET / HTTP/" + version + b"\r\n" + HOST + b"\r\n").status == 505

    def test_http_0_9_without_a_version(self) -> None:
        assert refusal(b"GET /\r\n\r\n").status == 505

    def test_other_expectations(self) -> None:
        assert refusal(POST + b"Content-Length: 1\r\nExpect: a-miracle\r\n\r\n").status == 417

    def test_keeps_what_was_whole_before(self) -> None:
        reader = RequestReader(Rules(LIMITS))
        with pytest.raises(Refused):
            reader.feed(b"GET /first HTTP/1.1\r\n" + HOST + b"\r\nFOO")
        assert [request.path for request in reader.ready] == ["/first"]


@given(
    parts=st.lists(
        st.binary(max_size=6)
        | st.sampled_from(
            [
                b"GET / HTTP/1.1\r\n",
                b"POST / HTTP/1.1\r\n",
                b"Host: a\r\n",
                b"Content-Length: 3\r\n",
                b"Transfer-Encoding: chunked\r\n",
                b"Connection: upgrade\r\nUpgrade: h2c\r\n",
                b"Expect: 100-continue\r\n",
                b"\r\n",
                b"3\r\nabc\r\n",
                b"0\r\n\r\n",
            ]
        ),
        max_size=15,
    )
)
def test_whatever_comes_is_read_or_refused(parts: list[bytes]) -> None:
    reader = RequestReader(Rules(LIMITS))
    with suppress(Refused):
        for part in parts:
            reader.feed(part)
    assert all(len(request.body) <= LIMITS.body_bytes for request in reader.ready)


class TestLimits:
    def test_url(self) -> None:
        assert refusal(b"GET /" + b"a" * 500 + b" HTTP/1.1\r\n").status == 414

    def test_url_before_it_has_ended(self) -> None:
        assert refusal(b"GET /", b"a" * 250, b"a" * 250).status == 414

    def test_one_long_header(self) -> None:
        assert refusal(POST + b"X: " + b"a" * 1000 + b"\r\n\r\n").status == 431

    def test_a_header_before_it_has_ended(self) -> None:
        assert refusal(POST, *[b"X: a" + b"a" * 500] * 4).status == 431

    def test_many_headers(self) -> None:
        assert refusal(POST + b"X: a\r\n" * 10 + b"\r\n").status == 431

    def test_many_headers_before_they_have_ended(self) -> None:
        assert refusal(POST, *[b"X: a\r\n" * 100] * 4).status == 431

    def test_announced_body_before_it_is_read(self) -> None:
        assert refusal(POST + b"Content-Length: 101\r\n\r\n").status == 413

    def test_chunked_body(self) -> None:
        assert refusal(CHUNKED + b"64\r\n" + b"a" * 100 + b"\r\n1\r\na").status == 413

    def test_chunk_before_it_has_ended(self) -> None:
        assert refusal(CHUNKED + b"ffff\r\n" + b"a" * 101).status == 413

    def test_trailers(self) -> None:
        assert refusal(CHUNKED, b"0\r\n", *[b"X: " + b"a" * 400] * 3).status == 400

    def test_chunk_extensions(self) -> None:
        assert refusal(CHUNKED, b"1;", *[b"a" * 400] * 3).status == 400

    def test_tiny_chunks_are_not_excess(self) -> None:
        limits = Limits(header_bytes=1000, body_bytes=10_000)
        (request,) = read(CHUNKED, *[b"1\r\na\r\n"] * 5000, b"0\r\n\r\n", limits=limits)
        assert len(request.body) == 5000
