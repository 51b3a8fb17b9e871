"""A service without a replica: requests wait for the first one, and the gateway tells so."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.gateway.kit import KEY, SECOND, Held, Serving, Stage, route, until
from tests.integration.gateway.process import GatewayProcess

from modelyard.agent.gateway.loads import read_loads

pytestmark = pytest.mark.anyio

ASLEEP = {"elastic": True, "waking_time": 20.0}


async def test_requests_wait_for_the_first_replica_and_none_fails(stage: Stage) -> None:
    async with Serving(route(**ASLEEP)) as gateway:
        tasks = [
            asyncio.ensure_future(
                gateway.client().request("/services/digits/score", b"%d" % number)
            )
            for number in range(10)
        ]
        await until(lambda: gateway.loads() == {"digits": 10})
        gateway.change(route(await stage.replica("a"), **ASLEEP))
        answers = await asyncio.gather(*tasks)
    assert [answer.status for answer in answers] == [200] * 10
    assert [answer.body for answer in answers] == [b"%d" % number for number in range(10)]


async def test_those_who_wait_are_told_when_no_replica_is_coming(stage: Stage) -> None:
    async with Serving(route(**ASLEEP)) as gateway:
        waiting = asyncio.ensure_future(gateway.client().request("/services/digits/score", b"x"))
        await until(lambda: gateway.loads() == {"digits": 1})
        gateway.change(route(elastic=True, unavailable="init() raised"))
        answer = await waiting
    assert answer.status == 503
    assert "init() raised" in answer.json()["message"]


async def test_a_wait_that_is_too_long_ends(stage: Stage) -> None:
    async with Serving(route(elastic=True, waking_time=0.2)) as gateway:
        answer = await gateway.client().request("/services/digits/score", b"x")
    assert answer.status == 503


PAGE = {"origin": "https://app.example", "access-control-request-method": "POST"}
STRANGERS: list[tuple[str, dict[str, str], bytes]] = [
    ("POST", {}, b"x"),
    ("POST", {"authorization": f"Bearer {KEY._replace(secret=SECOND.secret).text}"}, b"x"),
    ("POST", {"authorization": f"Bearer {KEY._replace(id='0' * 16).text}"}, b"x"),
    ("POST", {"authorization": "Bearer a.b.c"}, b"x"),
    ("POST", {}, b"x" * 300_000),
    ("POST", {"expect": "100-continue"}, b"x"),
    ("GET", {}, b""),
    ("HEAD", {}, b""),
    ("OPTIONS", {}, b""),
    ("OPTIONS", PAGE | {"origin": "https://other.example"}, b""),
    ("OPTIONS", {"origin": "https://app.example"}, b""),
]


@pytest.mark.parametrize("auth", ["key", "token", "cert", "unheard-of"])
@pytest.mark.parametrize("asleep", [True, False])
async def test_strangers_wake_nothing_and_reach_nothing(
    stage: Stage, auth: str, asleep: bool
) -> None:
    replica = await stage.replica("a")
    changes = {"auth": auth, "cors_origins": ("https://app.example",), **ASLEEP}
    service = route(**changes) if asleep else route(replica, **changes)
    async with Serving(service) as gateway:
        for path in ("/services/digits/score", "/services/digits/metrics", "/services/digits"):
            for method, headers, body in STRANGERS:
                client = gateway.client()
                answer = await client.request(path, body, method=method, headers=headers)
                assert answer.status in (401, 403), (method, headers)
                client.close()
            # What a page's browser asks first is answered, by the gateway itself.
            answer = await gateway.client().request(path, method="OPTIONS", headers=PAGE)
            assert answer.status == 200
        assert gateway.loads() == {"digits": 0}
    assert not replica.requests
    assert not replica.connections


async def test_what_a_browser_asks_first_wakes_nothing_where_all_may_score(stage: Stage) -> None:
    changes = {"auth": "none", "cors_origins": ("*",), **ASLEEP}
    async with Serving(route(**changes)) as gateway:
        answer = await gateway.client().request(
            "/services/digits/score", method="OPTIONS", headers=PAGE
        )
        assert answer.status == 200
        assert gateway.loads() == {"digits": 0}


async def test_going_to_sleep_loses_no_request(stage: Stage) -> None:
    held = Held()
    replica = await stage.replica("a", held)
    async with Serving(route(replica, **ASLEEP)) as gateway:
        running = asyncio.ensure_future(gateway.client().request("/services/digits/score", b"1"))
        await held.until(1)
        gateway.change(route(**ASLEEP))
        late = asyncio.ensure_future(gateway.client().request("/services/digits/score", b"2"))
        await until(lambda: gateway.loads() == {"digits": 1})
        held.release()
        assert (await running).status == 200
        gateway.change(route(await stage.replica("b"), **ASLEEP))
        assert (await late).status == 200


@pytest.fixture
def process(stage: Stage) -> Iterator[GatewayProcess]:
    with GatewayProcess(stage.folder) as process:
        yield process


async def test_the_load_is_told_in_a_file(stage: Stage, process: GatewayProcess) -> None:
    held = Held()
    place = Path(stage.folder) / "loads.json"
    process.configure(route(await stage.replica("a", held), elastic=True))
    await until(lambda: read_loads(place) == {"digits": 0})
    client = process.client()
    running = asyncio.ensure_future(client.request("/services/digits/score", b"1"))
    await held.until(1)
    await until(lambda: read_loads(place) == {"digits": 1})
    held.release()
    await running
    client.close()


async def test_a_gateway_that_is_gone_tells_nothing(stage: Stage, process: GatewayProcess) -> None:
    place = Path(stage.folder) / "loads.json"
    process.configure(route(await stage.replica("a"), elastic=True))
    await until(lambda: read_loads(place) == {"digits": 0})
    process.kill()
    await until(lambda: read_loads(place) == {})
