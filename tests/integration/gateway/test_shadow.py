"""Copies of requests for a candidate, with real connections."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.integration.gateway.kit import (
    ALL,
    BEARER,
    PATH,
    Client,
    Held,
    Replica,
    Serving,
    Stage,
    split,
    until,
)
from tests.unit.runtime.recorded import records

from modelyard.agent.gateway.shadow import label
from modelyard_runtime.capture.wanted import FIELD
from modelyard_runtime.http.server import Request, Response

pytestmark = pytest.mark.anyio

CANDIDATE = "0d9fb0d1-0000-4000-8000-000000000001"


class Answering(Serving):
    """A gateway whose service has a shadow."""

    def __init__(self, *replicas: Replica, shadow: int = 100, **changes: object) -> None:
        super().__init__(split(*replicas, candidate=CANDIDATE, shadow=shadow, **changes))

    def found(self) -> dict[str, int]:
        counts = {}
        for found in ("equal", "different", "failed", "left_out"):
            values = self.gateway._counters.of("digits", label(CANDIDATE, found)).values
            counts[found] = int(sum(values[:500]))
        return {found: count for found, count in counts.items() if count}


async def ask(client: Client, body: bytes = b"[1]") -> bytes:
    answer = await client.request(PATH, body, headers=BEARER)
    assert answer.status == 200
    assert answer.headers["x-modelyard-deployment"] == "old"
    return answer.body


def saying(body: bytes, status: int = 200) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        return Response(status, body, [(b"content-type", b"application/json")])

    return answer


async def test_a_share_is_copied_and_compared(stage: Stage) -> None:
    old = await stage.replica("o", deployment="old")
    new = await stage.replica("n", deployment=CANDIDATE, weight=0)
    async with Answering(old, new, shadow=20) as gateway:
        client = gateway.client()
        for number in range(20):
            assert await ask(client, b"%d" % number) == b"%d" % number
        await until(lambda: gateway.found() == {"equal": 4})
    assert [request.body for request in new.requests] == [b"4", b"9", b"14", b"19"]
    copy = new.requests[0].head.headers
    assert copy.get(b"x-modelyard-shadow") == b"true"
    assert copy.get(b"authorization") is None
    assert old.requests[4].head.headers.get(b"x-request-id") == copy.get(b"x-request-id")


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (saying(b'{"b": 2.0, "a": [1]}'), "equal"),
        (saying(b'{"a": [1], "b": 3}'), "different"),
        (saying(b"not JSON"), "different"),
        (saying(b'{"a": [1], "b": 2}', 422), "different"),
        (saying(b'{"a": [1], "b": 2}', 500), "failed"),
    ],
)
async def test_answers_are_the_same_by_what_they_mean(
    stage: Stage, answer: Callable[[Request], Awaitable[Response]], found: str
) -> None:
    old = await stage.replica("o", saying(b'{"a": [1], "b": 2}'), deployment="old")
    new = await stage.replica("n", answer, deployment=CANDIDATE, weight=0)
    async with Answering(old, new) as gateway:
        await ask(gateway.client())
        await until(lambda: gateway.found() == {found: 1})


async def test_a_stuck_candidate_slows_nobody_and_copies_are_left_out(stage: Stage) -> None:
    held = Held()
    old = await stage.replica("o", deployment="old")
    new = await stage.replica("n", held, deployment=CANDIDATE, weight=0)
    async with Answering(old, new, max_concurrent_requests=2) as gateway:
        client = gateway.client()
        for _ in range(10):
            await ask(client)
        await held.until(2)
        assert gateway.found() == {"left_out": 8}
        held.release()
        await until(lambda: gateway.found() == {"left_out": 8, "equal": 2})
    assert new.most_running == 2


async def test_a_candidate_that_is_gone_or_too_slow_has_failed(stage: Stage) -> None:
    held = Held()
    old = await stage.replica("o", deployment="old")
    new = await stage.replica("n", held, deployment=CANDIDATE, weight=0)
    async with Answering(old, new, scoring_timeout=1.5) as gateway:
        client = gateway.client()
        await ask(client)
        await until(lambda: gateway.found() == {"failed": 1})
        held.release()
        await new.stop()
        await ask(client)
        await until(lambda: gateway.found() == {"failed": 2})
        assert gateway.gateway.longest_request > 0


async def test_a_copy_is_not_recorded(stage: Stage, tmp_path: Path) -> None:
    old = await stage.replica("o", deployment="old")
    new = await stage.replica("n", deployment=CANDIDATE, weight=0)
    service = split(old, new, candidate=CANDIDATE, shadow=100, capture=ALL)
    async with Serving(service, captured=tmp_path) as gateway:
        spoofed = {**BEARER, "x-modelyard-shadow": "true"}
        answer = await gateway.client().request(PATH, b"[1]", headers=spoofed)
        await until(lambda: bool(new.requests))
        gateway.gateway.close_segments(all_of_them=True)
        (record,) = records(tmp_path / "the-service")
    assert record.prediction == answer.headers["x-prediction-id"]
    original, copy = dict(old.requests[0].headers), dict(new.requests[0].headers)
    assert FIELD in original
    assert b"x-modelyard-shadow" not in original
    assert copy == {name: value for name, value in original.items() if name != FIELD} | {
        b"x-modelyard-shadow": b"true"
    }


async def test_what_is_not_at_hand_is_not_copied(stage: Stage) -> None:
    old = await stage.replica("o", deployment="old")
    new = await stage.replica("n", deployment=CANDIDATE, weight=0)
    async with Answering(old, new) as gateway:
        client = gateway.client()
        await ask(client, b"x" * (300 << 10))
        named = {**BEARER, "x-modelyard-deployment": "old"}
        await client.request(PATH, b"1", headers=named)
        broken = await client.request("/services/digits/other", b"1", headers=BEARER)
        assert broken.status == 200
        await until(lambda: gateway.found() == {"equal": 1})
        await asyncio.sleep(0)
    assert [request.head.path for request in new.requests] == ["/other"]
