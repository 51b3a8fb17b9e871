"""Balancing, queueing and timeouts with real connections."""

from __future__ import annotations

import asyncio
import json

import pytest
from tests.integration.gateway.kit import Held, Serving, Stage, route, until

pytestmark = pytest.mark.anyio


async def test_a_busy_replica_gets_less(stage: Stage) -> None:
    held = Held()
    slow = await stage.replica("slow", held)
    quick = await stage.replica("quick")
    async with Serving(route(slow, quick)) as gateway:
        clients = [gateway.client() for _ in range(5)]
        stuck = []
        while not held.waiting:  # one request hangs at the slow replica
            stuck.append(asyncio.ensure_future(clients[len(stuck)].request("/services/digits/")))
            await asyncio.sleep(0.05)
        before = len(quick.requests)
        for _ in range(10):
            await clients[4].request("/services/digits/score", b"x")
        assert len(quick.requests) == before + 10
        held.release()
        await asyncio.gather(*stuck)


async def test_the_rest_waits_and_is_served_in_order(stage: Stage) -> None:
    held = Held()
    replica = await stage.replica("a", held)
    async with Serving(route(replica, max_concurrent_requests=2)) as gateway:
        tasks = []
        for number in range(6):
            body = str(number).encode()
            tasks.append(asyncio.ensure_future(gateway.client().request("/services/digits/", body)))
            await asyncio.sleep(0.02)
        await held.until(2)
        for _ in range(6):
            await until(lambda: bool(held.waiting))
            held.release(1)
        answers = await asyncio.gather(*tasks)
    assert [answer.status for answer in answers] == [200] * 6
    assert replica.most_running == 2
    assert [request.body for request in replica.requests] == [b"0", b"1", b"2", b"3", b"4", b"5"]


async def test_waiting_too_long_is_503_and_the_queue_is_bounded(stage: Stage) -> None:
    held = Held()
    replica = await stage.replica("a", held)
    limits = {"max_concurrent_requests": 1, "max_queue_wait": 0.2, "max_queued_requests": 2}
    async with Serving(route(replica, **limits)) as gateway:
        running = asyncio.ensure_future(gateway.client().request("/services/digits/", b"1"))
        await held.until(1)
        answers = await asyncio.gather(
            *(gateway.client().request("/services/digits/", b"x") for _ in range(5))
        )
        assert [answer.status for answer in answers] == [503] * 5
        assert {answer.headers["retry-after"] for answer in answers} == {"1"}
        assert {json.loads(answer.body)["code"] for answer in answers} == {"overloaded"}
        held.release()
        assert (await running).status == 200
    assert len(replica.requests) == 1


async def test_a_hanging_replica_is_504_and_its_late_answer_is_nobodys(stage: Stage) -> None:
    held = Held()
    replica = await stage.replica("a", held)
    async with Serving(route(replica, scoring_timeout=0.2)) as gateway:
        client = gateway.client()
        answer = await client.request("/services/digits/", b"x")
        assert (answer.status, answer.json()["code"]) == (504, "scoring_timeout")
        gateway.change(route(replica))
        again = asyncio.ensure_future(client.request("/services/digits/", b"y"))
        await held.until(2)
        held.release()
        assert (await again).body == b"y"


async def test_a_client_that_leaves_the_queue_costs_no_replica(stage: Stage) -> None:
    held = Held()
    replica = await stage.replica("a", held)
    async with Serving(route(replica, max_concurrent_requests=1)) as gateway:
        running = asyncio.ensure_future(gateway.client().request("/services/digits/", b"1"))
        await held.until(1)
        leaver = gateway.client()
        leaving = asyncio.ensure_future(leaver.request("/services/digits/", b"2"))
        await asyncio.sleep(0.1)
        leaver.vanish()
        with pytest.raises((OSError, EOFError)):
            await leaving
        await asyncio.sleep(0.1)
        last = asyncio.ensure_future(gateway.client().request("/services/digits/", b"3"))
        await asyncio.sleep(0.1)
        held.release()
        await running
        await held.until(1)
        held.release()
        assert (await last).body == b"3"
    assert [request.body for request in replica.requests] == [b"1", b"3"]


async def test_a_deleted_service_ends_what_runs_and_refuses_the_rest(stage: Stage) -> None:
    held = Held()
    replica = await stage.replica("a", held)
    async with Serving(route(replica, max_concurrent_requests=1)) as gateway:
        running = asyncio.ensure_future(gateway.client().request("/services/digits/", b"1"))
        await held.until(1)
        waiting = asyncio.ensure_future(gateway.client().request("/services/digits/", b"2"))
        await asyncio.sleep(0.1)
        gateway.change()
        assert (await waiting).status == 404
        assert gateway.draining() == {"a": 1}
        held.release()
        assert (await running).status == 200
        assert gateway.draining() == {}
