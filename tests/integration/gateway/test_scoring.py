"""Requests through a gateway to replicas that are served by the runtime's own core."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import replace

import pytest
from tests.integration.gateway.kit import BEARER, KEY, Client, Serving, Stage, route

from modelyard.agent.gateway.config import GatewayConfig
from modelyard.domain.keys import parse_key
from modelyard_runtime.http.server import Request, Response

pytestmark = pytest.mark.anyio


async def test_a_request_reaches_a_replica_and_its_answer_comes_back(stage: Stage) -> None:
    replica = await stage.replica("a")
    async with Serving(route(replica)) as gateway:
        client = gateway.client()
        headers = {**BEARER, "x-request-id": "mine", "x-custom": "1", "x-forwarded-for": "10.0.0.1"}
        answer = await client.request("/services/digits/score?n=1", b"[1]", headers=headers)
    assert (answer.status, answer.body) == (200, b"[1]")
    assert answer.headers["x-modelyard-deployment"] == "deployment-a"
    assert answer.headers["x-request-id"] == "mine"
    assert answer.headers["x-replica"] == "a"
    request = replica.requests[0]
    assert (request.method, request.path, request.query) == ("POST", "/score", "n=1")
    assert dict(request.headers) == {
        b"host": b"test",
        b"x-custom": b"1",
        b"x-forwarded-for": b"10.0.0.1",
        b"x-forwarded-prefix": b"/services/digits",
        b"x-request-id": b"mine",
        b"content-length": b"3",
    }


async def test_figures_of_a_service_are_told_by_the_agent(stage: Stage) -> None:
    replica, agent = await stage.replica("a"), await stage.replica("agent")
    async with Serving() as gateway:
        config = GatewayConfig(2, (route(replica),), figures=agent.upstream.socket)
        gateway.gateway.apply(config)
        client = gateway.client()
        path = "/services/digits/metrics"
        assert (await client.request(path, method="GET", headers={})).status == 401
        answer = await client.request(path, method="GET")
        gateway.gateway.apply(replace(config, figures=""))
        await client.request(path, method="GET")
    assert answer.status == 200
    assert "x-modelyard-deployment" not in answer.headers
    assert [request.path for request in agent.requests] == ["/services/digits/metrics"]
    assert [request.path for request in replica.requests] == ["/metrics"]


async def test_without_an_agent_there_are_no_figures(stage: Stage) -> None:
    async with Serving() as gateway:
        gone = str(stage.folder / "gone.s")
        gateway.gateway.apply(GatewayConfig(2, (route(),), figures=gone))
        answer = await gateway.client().request("/services/digits/metrics", method="GET")
    assert answer.status == 503
    assert "the agent of this host does not answer" in answer.json()["message"]


async def test_the_key_stays_at_the_gateway(stage: Stage) -> None:
    replica = await stage.replica("a")
    async with Serving(route(replica)) as gateway:
        await gateway.client().request("/services/digits/score", b"[1]")
    assert replica.requests[0].headers.get(b"authorization") is None


async def test_a_refused_request_never_reaches_a_replica(stage: Stage) -> None:
    replica = await stage.replica("a")
    wrong = KEY._replace(secret="x" * 43)
    assert parse_key(wrong.text) is not None
    async with Serving(route(replica)) as gateway:
        client = gateway.client()
        for headers in ({}, {"authorization": f"Bearer {wrong.text}"}):
            answer = await client.request("/services/digits/score", b"[1]", headers=headers)
            assert answer.status == 401
            assert answer.headers["www-authenticate"] == "bearer"
    assert replica.requests == []


async def test_answers_of_every_status_pass_with_a_request_id(stage: Stage) -> None:
    async def handler(request: Request) -> Response:
        return Response(int(request.query), b"because", [(b"x-why", b"asked")])

    replica = await stage.replica("a", handler)
    async with Serving(route(replica)) as gateway:
        client = gateway.client()
        for status in (200, 201, 400, 404, 429, 500, 503):
            answer = await client.request(f"/services/digits/?{status}", b"")
            assert (answer.status, answer.body, answer.headers["x-why"]) == (
                status,
                b"because",
                "asked",
            )
            assert len(answer.headers["x-request-id"]) == 32


@pytest.mark.parametrize("size", [0, 1, 65_536, 20_000_000])
async def test_bodies_of_any_size_pass_unchanged(stage: Stage, size: int) -> None:
    replica = await stage.replica("a")
    body = os.urandom(size)
    async with Serving(route(replica)) as gateway:
        answer = await gateway.client().request("/services/digits/score", body)
    assert answer.status == 200
    assert answer.body == body


async def test_a_chunked_body_arrives_with_a_length(stage: Stage) -> None:
    replica = await stage.replica("a")
    async with Serving(route(replica)) as gateway:
        answer = await gateway.client().raw(
            b"POST /services/digits/score HTTP/1.1\r\nhost: h\r\n"
            + f"authorization: Bearer {KEY.text}\r\n".encode()
            + b"transfer-encoding: chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n"
        )
    assert answer.body == b"abcde"
    assert replica.requests[0].headers.get_all(b"content-length") == [b"5"]
    assert replica.requests[0].headers.get(b"transfer-encoding") is None


async def test_the_header_alone_can_be_asked_for(stage: Stage) -> None:
    async def page(request: Request) -> Response:
        return Response(200, request.body or b"Healthy")

    replica = await stage.replica("a", page)
    async with Serving(route(replica)) as gateway:
        client = gateway.client()
        whole = await client.request("/services/digits/", method="GET")
        assert whole.body == b"Healthy"
        for _ in range(3):
            answer = await client.request("/services/digits/", method="HEAD")
            assert answer.status == 200
            assert answer.headers["content-length"] == str(len(whole.body))
        assert (await client.request("/services/digits/score", b"x")).body == b"x"


async def test_requests_sent_in_one_go_are_answered_in_order(stage: Stage) -> None:
    replica = await stage.replica("a")
    request = (
        f"POST /services/digits/score HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {KEY.text}\r\n"
        "content-length: 1\r\n\r\n"
    ).encode()
    async with Serving(route(replica)) as gateway:
        reader, writer = await asyncio.open_connection(*gateway.address)
        writer.write(b"".join(request + str(n).encode() for n in range(5)))
        bodies = []
        for _ in range(5):
            await reader.readuntil(b"\r\n\r\n")
            bodies.append(await reader.readexactly(1))
        writer.close()
    assert bodies == [b"0", b"1", b"2", b"3", b"4"]


async def test_connections_to_replicas_are_used_again(stage: Stage) -> None:
    replica = await stage.replica("a")
    async with Serving(route(replica)) as gateway:
        client = gateway.client()
        for _ in range(20):
            await client.request("/services/digits/score", b"x")
        assert replica.connections == 1


async def test_many_clients_at_once_each_get_their_own_answer(stage: Stage) -> None:
    replicas = [await stage.replica(name) for name in "abc"]

    async def one(client: Client, number: int) -> None:
        for step in range(25):
            body = f"{number}-{step}".encode()
            assert (await client.request("/services/digits/score", body)).body == body

    async with Serving(route(*replicas, max_concurrent_requests=4)) as gateway:
        await asyncio.gather(*(one(gateway.client(), number) for number in range(40)))
    assert sum(len(replica.requests) for replica in replicas) == 1000
    assert max(replica.most_running for replica in replicas) <= 4


async def test_own_errors_name_the_request(stage: Stage) -> None:
    async with Serving(route(unavailable="its image is being unpacked")) as gateway:
        answer = await gateway.client().request("/services/digits/score", b"x")
    assert answer.status == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["content-type"] == "application/json"
    body = json.loads(answer.body)
    assert body.keys() == {"message", "code", "request_id"}
    assert "its image is being unpacked" in body["message"]
    assert body["request_id"] == answer.headers["x-request-id"]
