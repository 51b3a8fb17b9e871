"""Requests that two parsers might read differently: none of it may reach a replica as it came."""

from __future__ import annotations

import asyncio

import pytest
from tests.integration.gateway.kit import BEARER, KEY, Replica, Serving, Stage, route

pytestmark = pytest.mark.anyio

AUTH = f"authorization: Bearer {KEY.text}\r\n".encode()
LINE = b"POST /services/digits/score HTTP/1.1\r\n"
HEAD = LINE + b"host: h\r\n" + AUTH
SMUGGLED = (
    b"POST /services/digits/smuggled HTTP/1.1\r\nhost: h\r\n" + AUTH + b"content-length: 0\r\n\r\n"
)

REFUSED = {
    "both a length and chunks": HEAD
    + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    + SMUGGLED,
    "chunks, then a length": HEAD
    + b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n"
    + SMUGGLED,
    "two lengths": HEAD + b"content-length: 0\r\ncontent-length: 200\r\n\r\n" + SMUGGLED,
    "two equal lengths": HEAD + b"content-length: 1\r\ncontent-length: 1\r\n\r\nx" + SMUGGLED,
    "a list of lengths": HEAD + b"content-length: 1, 1\r\n\r\nx" + SMUGGLED,
    "a length with a sign": HEAD + b"content-length: +1\r\n\r\nx" + SMUGGLED,
    "a negative length": HEAD + b"content-length: -1\r\n\r\n" + SMUGGLED,
    "a hexadecimal length": HEAD + b"content-length: 0x1\r\n\r\nx" + SMUGGLED,
    "a length with an underscore": HEAD + b"content-length: 1_0\r\n\r\n" + b"x" * 10,
    "an empty length": HEAD + b"content-length: \r\n\r\n" + SMUGGLED,
    "a length beyond 64 bits": HEAD + b"content-length: 18446744073709551617\r\n\r\nx",
    "an unknown coding": HEAD + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "two codings": HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "chunked twice": HEAD
    + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    + SMUGGLED,
    "identity": HEAD + b"transfer-encoding: identity\r\n\r\n" + SMUGGLED,
    "a space before the colon": HEAD + b"transfer-encoding : chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "a folded line": HEAD + b"x-a: 1\r\n transfer-encoding: chunked\r\n\r\n" + SMUGGLED,
    "a bare line feed": LINE + b"host: h\n" + AUTH + b"content-length: 0\r\n\r\n" + SMUGGLED,
    "a bare carriage return": HEAD + b"x-a: 1\rx-b: 2\r\ncontent-length: 0\r\n\r\n",
    "a null byte in a field": HEAD + b"x-a: 1\x002\r\ncontent-length: 0\r\n\r\n",
    "a control character in a name": HEAD + b"x\x01a: 1\r\ncontent-length: 0\r\n\r\n",
    "a chunk size that overflows": HEAD
    + b"transfer-encoding: chunked\r\n\r\n10000000000000001\r\nx\r\n0\r\n\r\n",
    "a chunk size with a prefix": HEAD + b"transfer-encoding: chunked\r\n\r\n0x1\r\nx\r\n0\r\n\r\n",
    "a chunk without its end": HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\nxx\r\n0\r\n\r\n",
    "chunks in HTTP/1.0": HEAD.replace(b"HTTP/1.1", b"HTTP/1.0")
    + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    + SMUGGLED,
    "two hosts": HEAD + b"host: other\r\ncontent-length: 0\r\n\r\n",
    "no host": LINE + AUTH + b"content-length: 0\r\n\r\n",
    "a host that is none": LINE + b"host: a b\r\n" + AUTH + b"content-length: 0\r\n\r\n",
    "another host in the target": HEAD.replace(b"/services", b"http://other/services", 1)
    + b"content-length: 0\r\n\r\n",
    "an authority as the target": b"CONNECT other:80 HTTP/1.1\r\nhost: h\r\n" + AUTH + b"\r\n",
    "too many fields": HEAD + b"x: y\r\n" * 2000 + b"content-length: 0\r\n\r\n",
    "too long a field": HEAD + b"x: " + b"y" * 100_000 + b"\r\ncontent-length: 0\r\n\r\n",
    "too long a target": HEAD.replace(b"score", b"s" * 100_000) + b"content-length: 0\r\n\r\n",
    "a newer version": HEAD.replace(b"HTTP/1.1", b"HTTP/2.0") + b"content-length: 0\r\n\r\n",
    "an unknown method": HEAD.replace(b"POST", b"STEAL") + b"content-length: 0\r\n\r\n",
    "a way up": HEAD.replace(b"digits/score", b"other/../digits/score") + b"\r\n",
    "an escaped way up": HEAD.replace(b"digits/score", b"other/%2e%2e/digits/score") + b"\r\n",
    "a slash backwards": HEAD.replace(b"digits/score", b"digits\\score") + b"\r\n",
    "an escape that hides another": HEAD.replace(b"digits/score", b"digits/%252e%252e") + b"\r\n",
    "an escaped line break": HEAD.replace(b"score", b"a%0d%0ahost:%20x") + b"\r\n",
    "an escaped null byte": HEAD.replace(b"score", b"a%00b") + b"\r\n",
    "half an escape": HEAD.replace(b"score", b"a%2") + b"\r\n",
    "a line break in the target": HEAD.replace(b"score", b"a\rb") + b"\r\n",
}
PASSED = {
    "an escaped separator": (
        HEAD.replace(b"score", b"a%3Fb%23c%20d") + b"content-length: 1\r\n\r\nx",
        ("/a?b#c d", b"x"),
    ),
    "chunks with extensions": (
        HEAD + b"transfer-encoding: chunked\r\n\r\n1;a=b\r\nx\r\n0\r\nx-trailer: 1\r\n\r\n",
        ("/score", b"x"),
    ),
    "a wish for another protocol": (
        HEAD + b"upgrade: h2c\r\nconnection: upgrade\r\ncontent-length: 1\r\n\r\nx",
        ("/score", b"x"),
    ),
    "fields named as the connection's own": (
        HEAD + b"connection: content-length, host, x-a\r\nx-a: 1\r\ncontent-length: 1\r\n\r\nx",
        ("/score", b"x"),
    ),
}
WANTED = {b"host", b"x-forwarded-prefix", b"x-request-id", b"content-length"}


async def send(gateway: Serving, data: bytes) -> bytes:
    """Everything that comes back until the gateway closes, or says nothing for a while."""
    reader, writer = await asyncio.open_connection(*gateway.address)
    writer.write(data)
    received = b""
    try:
        while part := await asyncio.wait_for(reader.read(65536), 0.5):
            received += part
    except TimeoutError:
        pass
    writer.close()
    return received


def statuses(received: bytes) -> list[int]:
    return [int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:]]


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
async def test_a_request_to_be_doubted_is_refused_and_ends_the_connection(
    stage: Stage, data: bytes
) -> None:
    replica = await stage.replica("a")
    async with Serving(route(replica)) as gateway:
        received = await send(gateway, data)
    assert len(statuses(received)) == 1, received
    assert 400 <= statuses(received)[0] < 600
    assert replica.requests == []


@pytest.mark.parametrize(("data", "wanted"), PASSED.values(), ids=PASSED.keys())
async def test_what_is_odd_and_right_arrives_written_anew(
    stage: Stage, data: bytes, wanted: tuple[str, bytes]
) -> None:
    replica = await stage.replica("a")
    async with Serving(route(replica)) as gateway:
        received = await send(gateway, data)
    assert statuses(received) == [200]
    request = replica.requests[0]
    assert (request.path, request.body) == wanted
    assert {name for name, _ in request.headers} == WANTED
    assert request.headers.get_all(b"content-length") == [b"%d" % len(request.body)]


@pytest.mark.parametrize(
    "path",
    [
        "/services/digits%2Fscore",
        "/services//digits/score",
        "/services/DIGITS/score",
        "/SERVICES/digits/score",
        "/services/digits%20/score",
        "/services/dig\u0131ts/score",
        "//services/digits/score",
        "/services",
        "/",
    ],
)
async def test_a_name_is_matched_as_it_is(stage: Stage, path: str) -> None:
    """Nothing but the exact name reaches the service, with or without a key."""
    replica = await stage.replica("a")
    open_route = route(replica, auth="none")
    async with Serving(open_route) as gateway:
        target = path.encode().replace("\u0131".encode(), b"%C4%B1").decode()
        answer = await gateway.client().request(target, b"x", headers=BEARER)
        reached = [request.path for request in replica.requests]
    assert (answer.status, reached) in [(404, []), (200, ["/score"])]
    assert (answer.status == 200) == (path == "/services/digits%2Fscore")


async def test_a_key_for_one_service_opens_no_other_by_any_path(stage: Stage) -> None:
    mine, theirs = await stage.replica("mine"), await stage.replica("theirs")
    other = route(theirs, name="other", keys=())
    async with Serving(route(mine), other) as gateway:
        for path in (
            "/services/other/score",
            "/services/digits/../other/score",
            "/services/digits/%2e%2e/other/score",
            "/services/digits/..;/other/score",
            "/services/digits//services/other/score",
            "/services/digits?/../other/score",
            "/services/other?authorization=Bearer%20" + KEY.text,
        ):
            client = gateway.client()
            await client.request(path, b"x")
            client.close()
    assert theirs.requests == []


async def test_a_body_beyond_the_limit_is_refused_before_it_is_sent(stage: Stage) -> None:
    replica = await stage.replica("a")
    async with Serving(route(replica)) as gateway:
        received = await send(gateway, HEAD + b"content-length: 104857601\r\n\r\n")
    assert statuses(received) == [413]
    assert replica.requests == []


async def test_a_log_line_cannot_be_forged(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """A request id from outside is repeated in logs and answers: as data, never as lines."""

    replica = Replica(stage.folder, "gone")  # never started
    async with Serving(route(replica, max_queue_wait=0.0)) as gateway:
        data = HEAD + b'x-request-id: a","code":"fine\xff\x9b31m\r\ncontent-length: 0\r\n\r\n'
        received = await send(gateway, data)
    assert statuses(received) == [503]
    assert b'a\\",\\"code\\":\\"fine\\u00ff\\u009b31m' in received
    assert len(caplog.records) == 1
