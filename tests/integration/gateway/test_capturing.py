"""What a gateway records: the requests that no worker has recorded; and what it counts."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.integration.gateway.kit import ALL, KEY, Held, Serving, Stage, route, until
from tests.unit.runtime.recorded import counts, records

from modelyard.capture.encrypting import Decryption, public_key
from modelyard_runtime.capture.rules import Rules, hash_value
from modelyard_runtime.capture.spool import DROP_NEW, REFUSE
from modelyard_runtime.capture.wanted import FIELD, PREDICTION, SEEN_TO, parse
from modelyard_runtime.http.server import Request, Response

pytestmark = pytest.mark.anyio

SCORE = "/services/digits/score"


@pytest.fixture
def captured(tmp_path: Path) -> Path:
    return tmp_path / "captured"


async def test_records_what_no_worker_has(stage: Stage, captured: Path) -> None:
    replica = await stage.replica("a")
    async with Serving(route(replica, capture=ALL), captured=captured) as gateway:
        answer = await gateway.client().request(SCORE, b"[1]")
        gateway.gateway.close_segments(all_of_them=True)
        (record,) = records(captured / "the-service")
    assert record.prediction == answer.headers["x-prediction-id"]
    assert (record.status, record.input, record.output) == (200, b"[1]", b"[1]")
    assert (record.key, record.replica, record.deployment) == (KEY.id, "a", "deployment-a")
    assert (record.path, record.code, record.output_type) == ("/score", "", "text/plain")
    assert record.seconds > 0
    assert counts(captured / "the-service", "gateway-0")[1:] == (1, 1, 0, 0)


async def test_rules_are_applied_and_told_to_workers(stage: Stage, captured: Path) -> None:
    replica = await stage.replica("a")
    ruled = replace(ALL, drop=("name",), hashed=("id",), key=b"key".hex())
    async with Serving(route(replica, capture=ruled), captured=captured) as gateway:
        client = gateway.client()
        answers = [
            await client.request(SCORE, body)
            for body in (b'{"id": 7, "name": "secret"}', b"secret")
        ]
        gateway.gateway.close_segments(all_of_them=True)
        read, unread = records(captured / "the-service")
    assert [answer.status for answer in answers] == [200, 200]
    assert read.input == b'{"id":"%b"}' % hash_value(7, b"key").encode()
    assert (unread.input, unread.withheld) == (None, "inputs,outputs")
    told = dict(replica.requests[0].headers)[FIELD]
    wanted = parse(told)
    assert wanted is not None
    assert wanted.rules == Rules(["name"], ["id"], b"key")


async def test_a_worker_is_told_to_leave_out_what_is_to_be_encrypted(
    stage: Stage, captured: Path
) -> None:
    replica = await stage.replica("a")
    private = b"1" * 32
    ruled = replace(ALL, drop=("id",), encrypted=("name",), public=public_key(private).hex())
    async with Serving(route(replica, capture=ruled), captured=captured) as gateway:
        await gateway.client().request(SCORE, b'{"id": 7, "name": "secret"}')
        gateway.gateway.close_segments(all_of_them=True)
        (record,) = records(captured / "the-service")
    assert record.input is not None
    assert b"secret" not in record.input
    plain = Decryption(private).decrypt_document(record.input.decode())
    assert json.loads(plain) == {"name": "secret"}
    wanted = parse(dict(replica.requests[0].headers)[FIELD])
    assert wanted is not None
    assert (wanted.rules, wanted.is_collected_only) == (Rules(["id", "name"], [], b""), True)


async def test_leaves_what_a_worker_has_recorded_to_it(stage: Stage, captured: Path) -> None:
    async def recording(request: Request) -> Response:
        return Response(200, b"[2]", [SEEN_TO])

    replica = await stage.replica("a", recording)
    async with Serving(route(replica, capture=ALL), captured=captured) as gateway:
        client = gateway.client()
        answer = await client.request(SCORE, b"[1]")
        assert FIELD.decode() not in answer.headers
        named = {"authorization": f"Bearer {KEY.text}", "x-request-id": "mine"}
        second = await client.request(SCORE, b"[1]", headers=named)
        gateway.gateway.close_segments(all_of_them=True)
    assert records(captured / "the-service") == []
    assert counts(captured / "the-service", "gateway-0")[1:] == (2, 0, 0, 0)
    first, other = (dict(request.headers) for request in replica.requests)
    assert first[FIELD] == f"{KEY.id};{1 << 30};drop_new;0".encode()
    assert PREDICTION not in first
    assert first[b"x-request-id"].decode() == answer.headers["x-prediction-id"]
    assert other[PREDICTION].decode() == second.headers["x-prediction-id"] != "mine"


async def test_a_caller_cannot_say_what_is_between_gateway_and_worker(
    stage: Stage, captured: Path
) -> None:
    replica = await stage.replica("a")
    forged = {FIELD.decode(): "me;1;refuse", PREDICTION.decode(): "mine"}
    async with Serving(route(replica)) as gateway:
        headers = {"authorization": f"Bearer {KEY.text}", **forged}
        answer = await gateway.client().request(SCORE, b"[1]", headers=headers)
    told = dict(replica.requests[0].headers)
    assert FIELD not in told
    assert PREDICTION not in told
    assert answer.headers["x-prediction-id"] != "mine"


async def test_records_what_never_reached_a_worker_and_whose_worker_died(
    stage: Stage, captured: Path
) -> None:
    held = Held()
    replica = await stage.replica("a", held)
    capture = {"capture": ALL, "max_queue_wait": 0.0, "max_concurrent_requests": 1}
    async with Serving(route(replica, **capture), captured=captured) as gateway:
        lost = asyncio.ensure_future(gateway.client().request(SCORE, b"[1]"))
        await held.until(1)
        refused = await gateway.client().request(SCORE, b"[2]")
        await replica.stop(0)
        answers = [refused, await lost]
        gateway.gateway.close_segments(all_of_them=True)
    assert [answer.status for answer in answers] == [503, 502]
    found = records(captured / "the-service")
    assert [(r.status, r.input, r.code, r.replica) for r in found] == [
        (503, b"[2]", "overloaded", ""),
        (502, b"[1]", "replica_lost", "a"),
    ]
    assert [r.prediction for r in found] == [a.headers["x-prediction-id"] for a in answers]


async def test_a_worker_is_told_that_one_before_it_may_have_recorded(
    stage: Stage, captured: Path
) -> None:
    held = Held()
    dying, other = await stage.replica("a", held), await stage.replica("b")
    async with Serving(route(dying, capture=ALL), captured=captured) as gateway:
        headers = {"authorization": f"Bearer {KEY.text}", "idempotency-key": "1"}
        asked = asyncio.ensure_future(gateway.client().request(SCORE, b"[1]", headers=headers))
        await held.until(1)
        gateway.change(route(dying, other, capture=ALL))
        await dying.stop(0)
        assert (await asked).status == 200
    told = [parse(dict(one.requests[0].headers)[FIELD]) for one in (dying, other)]
    assert [wanted and wanted.attempt for wanted in told] == [1, 2]


async def test_only_scores_of_those_let_in_are_recorded(stage: Stage, captured: Path) -> None:
    replica = await stage.replica("a")
    async with Serving(route(replica, capture=ALL), captured=captured) as gateway:
        client = gateway.client()
        await client.request("/services/digits/swagger.json", method="GET")
        await client.request(SCORE, b"[1]", headers={"authorization": "Bearer wrong"})
        await client.request("/services/digits/v2/models/m/infer", b"[1]")
        gateway.gateway.close_segments(all_of_them=True)
    assert [r.path for r in records(captured / "the-service")] == ["/v2/models/m/infer"]


async def test_a_switch_counts_every_request_once(stage: Stage, captured: Path) -> None:
    replica = await stage.replica("a")
    off, half = route(replica), route(replica, capture=replace(ALL, percent=50))
    async with Serving(off, captured=captured) as gateway:
        client = gateway.client()
        await client.request(SCORE, b"[1]")
        assert not captured.exists()
        gateway.change(half)
        for _ in range(200):
            await client.request(SCORE, b"[1]")
        gateway.change(off)
        await client.request(SCORE, b"[1]")
    tally = counts(captured / "the-service", "gateway-0")
    assert (tally.answered, tally.captured + tally.sampled_out, tally.dropped) == (200, 200, 0)
    assert 50 < tally.captured < 150
    assert len(records(captured / "the-service")) == tally.captured


@pytest.mark.parametrize(("policy", "status"), [(DROP_NEW, 200), (REFUSE, 503)])
async def test_without_room_it_drops_or_refuses_and_counts(
    stage: Stage, captured: Path, policy: str, status: int
) -> None:
    replica = await stage.replica("a")
    little = replace(ALL, space=1000, when_full=policy)
    async with Serving(route(replica, capture=little), captured=captured) as gateway:
        client = gateway.client()
        answers = [await client.request(SCORE, b"x" * 300) for _ in range(6)]
        gateway.gateway.close_segments(all_of_them=True)
    assert [answer.status for answer in answers] == [200, 200, *[status] * 4]
    assert counts(captured / "the-service", "gateway-0")[1:] == (6, 2, 0, 4)
    assert len(records(captured / "the-service")) == 2


async def test_what_is_open_closes_by_itself(stage: Stage, captured: Path) -> None:
    replica = await stage.replica("a")
    async with Serving(route(replica, capture=ALL), captured=captured) as gateway:
        await gateway.client().request(SCORE, b"[1]")

        def closed() -> bool:
            gateway.gateway.close_segments()
            return bool(records(captured / "the-service"))

        assert not closed()
        await until(closed)
