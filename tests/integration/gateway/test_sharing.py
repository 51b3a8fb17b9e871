"""Several deployments behind one service, with real connections."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

import pytest
from tests.integration.gateway.kit import (
    BEARER,
    PATH,
    Client,
    Held,
    Serving,
    Stage,
    split,
)

from modelyard.agent.gateway.config import DeploymentRoute

pytestmark = pytest.mark.anyio


async def served_by(client: Client, count: int, **headers: str) -> Counter[str]:
    """Which deployments answered so many requests."""
    counts: Counter[str] = Counter()
    for _ in range(count):
        answer = await client.request(PATH, b"1", headers={**BEARER, **headers})
        assert answer.status == 200
        counts[answer.headers["x-modelyard-deployment"]] += 1
    return counts


async def test_shares_are_exact_and_the_load_is_balanced_inside(stage: Stage) -> None:
    old = [await stage.replica(name, deployment="old", weight=80) for name in ("o1", "o2")]
    new = await stage.replica("n1", deployment="new", weight=20)
    async with Serving(split(*old, new)) as gateway:
        assert await served_by(gateway.client(), 50) == {"old": 40, "new": 10}
        assert [len(replica.requests) for replica in old] == [20, 20]
        gateway.change(split(*old))
        assert await served_by(gateway.client(), 10) == {"old": 10}


async def test_a_stuck_deployment_takes_its_limit_and_no_more(stage: Stage) -> None:
    held = Held()
    quick = await stage.replica("quick", deployment="old", weight=50)
    stuck = await stage.replica("stuck", held, deployment="new", weight=50)
    async with Serving(split(quick, stuck, max_concurrent_requests=2)) as gateway:
        hanging = [
            asyncio.ensure_future(gateway.client().request(PATH, b"1", headers=BEARER))
            for _ in range(4)
        ]
        await held.until(2)
        assert await served_by(gateway.client(), 10) == {"old": 10}
        held.release()
        assert [answer.status for answer in await asyncio.gather(*hanging)] == [200] * 4


class TestNamed:
    @pytest.mark.parametrize("name", ["new", "new:1"])
    async def test_goes_there_whatever_the_weights(self, stage: Stage, name: str) -> None:
        old = await stage.replica("o", deployment="old", weight=100)
        new = await stage.replica("n", deployment="new", weight=0)
        async with Serving(split(old, new)) as gateway:
            client = gateway.client()
            assert await served_by(client, 3, **{"x-modelyard-deployment": name}) == {"new": 3}
            assert await served_by(client, 3) == {"old": 3}

    async def test_an_unknown_one_is_404_for_those_who_may_know(self, stage: Stage) -> None:
        old = await stage.replica("o", deployment="old")
        async with Serving(split(old)) as gateway:
            client = gateway.client()
            headers = {**BEARER, "x-modelyard-deployment": "new:9"}
            answer = await client.request(PATH, b"1", headers=headers)
            assert (answer.status, answer.json()["code"]) == (404, "not_found")
            assert "no deployment `new:9`; there is `old:1`" in answer.json()["message"]
            headers = {"x-modelyard-deployment": "new:9"}
            answer = await client.request(PATH, b"1", headers=headers)
            assert (answer.status, answer.json()["code"]) == (401, "unauthenticated")
        assert old.requests == []

    async def test_one_without_a_ready_replica_is_503(self, stage: Stage) -> None:
        old = await stage.replica("o", deployment="old")
        known = (DeploymentRoute("old", "old:1", 50), DeploymentRoute("new", "new:1", 50))
        async with Serving(replace(split(old), deployments=known)) as gateway:
            headers = {**BEARER, "x-modelyard-deployment": "new:1"}
            answer = await gateway.client().request(PATH, b"1", headers=headers)
            assert (answer.status, answer.json()["code"]) == (503, "unavailable")


async def test_sticky_callers_stay_and_a_growing_share_takes_no_one_back(stage: Stage) -> None:
    old = await stage.replica("o", deployment="old", weight=70)
    new = await stage.replica("n", deployment="new", weight=30)

    async def where(client: Client) -> dict[str, str]:
        found = {}
        for user in range(40):
            [found[str(user)]] = await served_by(client, 2, **{"x-user-id": str(user)})
        return found

    async with Serving(split(old, new, sticky="x-user-id")) as gateway:
        client = gateway.client()
        before = await where(client)
        assert set(before.values()) == {"old", "new"}
        assert await where(client) == before
        assert await served_by(client, 10) == {"old": 7, "new": 3}  # without the header
        old.upstream, new.upstream = (
            replace(old.upstream, weight=30),
            replace(new.upstream, weight=70),
        )
        gateway.change(split(old, new, sticky="x-user-id"))
        after = await where(client)
    assert all(after[user] == "new" for user, place in before.items() if place == "new")
    assert Counter(after.values())["new"] > Counter(before.values())["new"]
