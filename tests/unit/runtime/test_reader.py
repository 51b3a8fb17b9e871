"""The request reader: what is read and what is refused, wherever the bytes are cut."""

from __future__ import annotations

import gzip
import zlib
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.runtime.malformed import CHUNKED, HOST, MALFORMED, POST

from modelyard_runtime.http.known_heads import KnownHeads
from modelyard_runtime.http.messages import Head, Limits, NotAdmitted, Refused, Request, Response
from modelyard_runtime.http.reader import BODY, HEAD, IDLE, RequestReader, Rules

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

    def test_body_of_a_request_to_upgrade_that_is_refused(self) -> None:
        upgrade = b"Connection: upgrade\r\nUpgrade: h2c\r\n"
        coded = b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello"
        whole = b"PUT / HTTP/1.1\r\n" + HOST + upgrade + coded
        assert refusal(whole[:1], whole[1:]).status == 400

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


class Parsing(KnownHeads):
    """Knows no head, so that the parser reads everything."""

    def find(self, raw: bytes) -> Head | None:
        return None


class Outcome:
    """What becomes of the bytes of one connection, as the server sees it."""

    def __init__(self, *, parsing: bool) -> None:
        rules = Rules(LIMITS)
        if parsing:
            rules.known = Parsing(LIMITS)
        self.rules = rules
        self.seen: list[object] = []

    def read(self, parts: list[bytes]) -> None:
        reader = RequestReader(self.rules)
        for part in parts:
            idle = reader.phase == IDLE and reader.orderly
            request = reader.recognise(part) if idle else None
            if request is not None:
                self.seen += [request, reader.expects_continue]
                continue
            try:
                reader.feed(part)
            except Refused as refusal:
                self.seen += [*reader.ready, (refusal.status, refusal.message)]
                return
            self.seen += [*reader.ready, reader.expects_continue]
            reader.ready.clear()


LINES = [
    b"Host: here",
    b"Content-Length: 3",
    b"content-length:\t3 ",
    b"Content-Length: 101",
    b"X-One: 1",
    b"x-one:  a b\t",
    b"Empty:",
    b"Accept: */*, text/html;q=0.8",
    b"Connection: keep-alive",
    b"connection: Keep-Alive",
    b"Connection: close",
    b"Proxy-Connection: keep-alive",
    b"Connection: upgrade",
    b"Upgrade: h2c",
    b"Expect: 100-continue",
    b"Transfer-Encoding: chunked",
    b"Content-Encoding: gzip",
    b" folded",
    b"X: \xe9\x7f",
    b"X: a\rb",
    b"X: a\nb",
]
"""Of fields, plain ones first."""
STARTS = [
    b"POST /a?b HTTP/1.1",
    b"GET / HTTP/1.1",
    b"HEAD /%41 HTTP/1.1",
    b"GET / HTTP/1.0",
    b"GET /../ HTTP/1.1",
    b"\r\nGET / HTTP/1.1",
    b"PRI * HTTP/2.0",
]


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    start = draw(st.sampled_from(STARTS[:3]) | st.sampled_from(STARTS))
    lines = draw(st.lists(st.sampled_from(LINES[:8]) | st.sampled_from(LINES), max_size=5))
    return b"\r\n".join([start, b"Host: here", *lines, b"", b""])


@st.composite
def connections(draw: st.DrawFn) -> list[bytes]:
    """Requests, some of them repeated or damaged, cut anywhere."""
    some = draw(st.lists(st.tuples(heads(), st.sampled_from([b"", b"abc", b"abcdef"]))))
    messages = [head + body for head, body in some]
    whole = messages + draw(st.lists(st.sampled_from(messages or [b""]), max_size=4))
    if draw(st.booleans()):
        return whole
    data = b"".join(whole)
    if draw(st.booleans()):
        at = draw(st.integers(0, len(data)))
        data = data[:at] + draw(st.binary(max_size=3)) + data[at + draw(st.integers(0, 3)) :]
    cuts = [0, *sorted(draw(st.lists(st.integers(0, len(data)), max_size=6))), len(data)]
    return [data[start:end] for start, end in pairwise(cuts)]


@settings(max_examples=500, deadline=None)
@given(several=st.lists(connections(), min_size=1, max_size=3))
def test_the_same_with_the_parser_and_without(several: list[list[bytes]]) -> None:
    """Heads that are known from other connections change nothing."""
    parsing, knowing = Outcome(parsing=True), Outcome(parsing=False)
    for parts in several:
        parsing.read(parts)
        knowing.read(parts)
    assert knowing.seen == parsing.seen


@pytest.mark.parametrize("data", MALFORMED)
def test_malformed_ones_are_refused_the_same_way(data: bytes) -> None:
    parsing, knowing = Outcome(parsing=True), Outcome(parsing=False)
    good = POST + b"Content-Length: 1\r\n\r\na"
    for outcome in (parsing, knowing):
        for parts in ([good, data], [good + data], [data]):
            outcome.read(parts)
    assert knowing.seen == parsing.seen


def test_requests_with_the_same_head_share_it_once_it_has_come_twice() -> None:
    rules = Rules(LIMITS)
    data = POST + b"Content-Length: 1\r\n\r\n"
    assert RequestReader(rules).recognise(data + b"z") is not None
    first = RequestReader(rules).recognise(data + b"a")
    second = RequestReader(rules).recognise(data + b"b")
    reader = RequestReader(rules)
    reader.feed((data + b"c") * 2)
    assert first is not None
    assert second is not None
    assert all(request.head is first.head for request in (second, *reader.ready))
    assert (first.body, second.body) == (b"a", b"b")


class TestAdmission:
    LARGE = b"POST /large HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n"

    @pytest.mark.parametrize(
        "framing",
        [
            b"Content-Length: 16385\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"Content-Length: 1\r\nExpect: 100-continue\r\n",
        ],
    )
    def test_is_asked_for_before_the_body(self, framing: bytes) -> None:
        reader = RequestReader(Rules(Limits(), lambda head, peer: Response(401)))
        with pytest.raises(NotAdmitted) as refused:
            reader.feed(POST + framing + b"\r\n")
        assert refused.value.response() == Response(401)
        assert not reader.expects_continue

    def test_of_a_small_body_is_left_to_the_server(self) -> None:
        reader = RequestReader(Rules(Limits(), lambda head, peer: Response(401)))
        reader.feed(POST + b"Content-Length: 1\r\n\r\na")
        assert len(reader.ready) == 1

    def test_lets_the_expected_happen(self) -> None:
        reader = RequestReader(Rules(Limits(), lambda head, peer: None))
        reader.feed(self.LARGE + b"Expect: 100-continue\r\n\r\n")
        assert reader.expects_continue


class TestStreams:
    CHUNKED = b"POST /stream HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    LONG = b"POST /stream HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\n"

    def reader(self) -> RequestReader:
        return RequestReader(Rules(LIMITS, wants_stream=lambda head: head.path == "/stream"))

    @pytest.mark.parametrize("head", [CHUNKED, LONG])
    def test_begin_with_the_headers(self, head: bytes) -> None:
        reader = self.reader()
        reader.feed(head)
        (request,) = reader.ready
        assert request.body == b""
        assert request.stream is reader.stream is not None

    @pytest.mark.parametrize(
        "data", [CHUNKED + b"5\r\nhello\r\n0\r\n\r\n", LONG + b"a" * 50], ids=["chunks", "length"]
    )
    def test_end_with_the_body(self, data: bytes) -> None:
        reader = self.reader()
        reader.feed(data + b"GET /next HTTP/1.1\r\n" + HOST + b"\r\n")
        assert [request.path for request in reader.ready] == ["/stream", "/next"]
        assert reader.stream is None

    def test_have_the_same_limit(self) -> None:
        reader = self.reader()
        with pytest.raises(Refused) as refused:
            reader.feed(self.CHUNKED + b"65\r\n" + b"a" * 101)
        assert refused.value.status == 413
        assert reader.stream is not None


class TestCodings:
    GZIP = b"Content-Encoding: gzip\r\n"

    def framed(self, body: bytes, *lines: bytes) -> bytes:
        return POST + b"".join(lines) + b"Content-Length: %d\r\n\r\n" % len(body) + body

    @pytest.mark.parametrize("name", [b"gzip", b"GZIP", b"x-gzip"])
    def test_gzip_is_inflated(self, name: bytes) -> None:
        body = gzip.compress(b"hello")
        (request,) = read(self.framed(body, b"Content-Encoding: " + name + b"\r\n"))
        assert request.body == b"hello"
        assert request.headers.get(b"content-encoding") is None
        assert request.headers.get(b"content-length") is None

    def test_deflate_is_inflated(self) -> None:
        (request,) = read(self.framed(zlib.compress(b"hi"), b"Content-Encoding: deflate\r\n"))
        assert request.body == b"hi"

    def test_of_chunks_is_that_of_the_whole(self) -> None:
        body = gzip.compress(b"hello")
        data = POST + self.GZIP + b"Transfer-Encoding: chunked\r\n\r\n"
        chunks = [b"1\r\n%b\r\n" % bytes([byte]) for byte in body]
        (request,) = read(data, *chunks, b"0\r\n\r\n")
        assert request.body == b"hello"

    def test_identity_is_none(self) -> None:
        (request,) = read(self.framed(b"hello", b"Content-Encoding: identity\r\n"))
        assert request.body == b"hello"

    @pytest.mark.parametrize("name", [b"br", b"gzip, gzip", b"gzip, identity", b"zstd", b","])
    def test_others_are_refused(self, name: bytes) -> None:
        refused = refusal(self.framed(b"hello", b"Content-Encoding: " + name + b"\r\n"))
        assert refused.status == 415
        assert (b"accept-encoding", b"gzip, deflate") in refused.headers

    def test_twice_is_refused(self) -> None:
        assert refusal(self.framed(b"", self.GZIP, self.GZIP)).status == 415

    def test_a_body_that_is_not_in_it_is_refused(self) -> None:
        assert refusal(self.framed(b"hello", self.GZIP)).status == 400
        assert refusal(self.framed(gzip.compress(b"hello")[:-1], self.GZIP)).status == 400

    def test_the_limit_is_that_of_the_inflated_body(self) -> None:
        assert refusal(self.framed(gzip.compress(b"a" * 101), self.GZIP)).status == 413

    def test_may_be_left_to_the_handler(self) -> None:
        reader = RequestReader(Rules(LIMITS, inflates=False))
        reader.feed(self.framed(b"hello", b"Content-Encoding: br\r\n"))
        assert reader.ready[0].body == b"hello"
        assert reader.ready[0].headers.get(b"content-encoding") == b"br"

    def test_the_next_request_is_read_as_ever(self) -> None:
        after = b"GET /after HTTP/1.1\r\n" + HOST + b"\r\n"
        _, second = read(self.framed(gzip.compress(b"hello"), self.GZIP) + after)
        assert second.path == "/after"


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
