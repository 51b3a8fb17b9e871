"""What turned out to be true of answers: taken by the gateway itself, and on the disk before it
says so."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.integration.gateway.kit import KEY, ROUTE, Serving, Stage, until
from tests.integration.gateway.process import GatewayProcess
from tests.unit.runtime.recorded import in_another_process

from modelyard.agent.gateway import feedback
from modelyard.agent.gateway.config import CaptureRoute
from modelyard_runtime.capture.records import Told, decode
from modelyard_runtime.capture.rules import hash_value
from modelyard_runtime.capture.segments import segments_in
from modelyard_runtime.capture.spool import DROP_OLD

pytestmark = pytest.mark.anyio

OFF = CaptureRoute("the-service", 0, 1 << 30, DROP_OLD)
PATH = "/services/digits/feedback"


@pytest.fixture
def captured(tmp_path: Path) -> Path:
    return tmp_path / "captured"


def stored(captured: Path) -> list[tuple[str, int, Any, str]]:
    folder = captured / "the-service" / "feedback"
    found = [decode(raw) for path in segments_in(folder) for raw in in_another_process(path)]
    return [(r.prediction, r.row, json.loads(r.truth), r.key) for r in found if isinstance(r, Told)]


async def all_closed(gateway: Any, captured: Path) -> None:
    def closed() -> bool:
        gateway.close_segments(all_of_them=True)
        return bool(stored(captured))

    await until(closed)


async def test_truths_are_stored_without_replica_and_without_capture(captured: Path) -> None:
    async with Serving(replace(ROUTE, capture=OFF), captured=captured) as gateway:
        client = gateway.client()
        told = [
            {"prediction_id": "a", "truth": 7},
            {"prediction_id": "b", "truth": [1, None, "x"]},
            {"prediction_id": "c", "truth": [1, 2], "row": 3},
            {"feedback": [{"prediction_id": "d", "truth": 1}, {"prediction_id": "d", "truth": 2}]},
        ]
        answers = [await client.request(PATH, json.dumps(one).encode()) for one in told]
        refused = await client.request(PATH, b"{}", headers={})
        await all_closed(gateway.gateway, captured)
    assert [(answer.status, answer.json()) for answer in answers] == [
        (200, {"stored": 1}),
        (200, {"stored": 2}),
        (200, {"stored": 1}),
        (200, {"stored": 1}),
    ]
    assert answers[0].headers["x-request-id"]
    assert refused.status == 401
    assert stored(captured) == [
        ("a", 0, 7, KEY.id),
        ("b", 0, 1, KEY.id),
        ("b", 2, "x", KEY.id),
        ("c", 3, [1, 2], KEY.id),
        ("d", 0, 2, KEY.id),
    ]
    # Only truths: no request was recorded or counted.
    assert [path.name for path in (captured / "the-service").iterdir()] == ["feedback"]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "truncated"),
        (b"[1]", "Expected `object`"),
        (b"{}", "missing required field `prediction_id`"),
        (b'{"prediction_id": "a"}', "missing required field `truth`"),
        (b'{"prediction_id": "", "truth": 1}', "length >= 1"),
        (b'{"prediction_id": "a b", "truth": 1}', "`a b` is no prediction id"),
        (b'{"prediction_id": "a", "truth": 1, "more": 1}', "unknown field `more`"),
        (b'{"prediction_id": "a", "truth": 1, "row": -1}', ">= 0"),
        (b'{"prediction_id": "a", "truth": null}', "there is no truth of `a`"),
        (b'{"prediction_id": "a", "truth": []}', "there is no truth of `a`"),
        (b'{"feedback": []}', "length >= 1"),
        (b'{"feedback": [{"prediction_id": "a", "truth": 1}], "truth": 1}', "unknown field"),
        (b'{"feedback": [{"prediction_id": "a", "truth": 1}, {"truth": 1}]}', "prediction_id"),
        (b'{"feedback": [{"prediction_id": "a", "truth": null}]}', "there is no truth of `a`"),
        (b'{"prediction_id": "a", "truth": "%s"}' % (b"x" * (16 << 10)), "longer than 16384"),
        (b'{"prediction_id": "a", "truth": %s}' % (b"[" * 100_000), "nested too deeply"),
        (b'{"prediction_id": "a", "truth": [%s]}' % b",".join([b"1"] * 10_001), "more than 10000"),
    ],
)
async def test_what_is_no_feedback_is_refused_whole(captured: Path, body: bytes, why: str) -> None:
    async with Serving(replace(ROUTE, capture=OFF), captured=captured) as gateway:
        answer = await gateway.client().request(PATH, body)
        gateway.gateway.close_segments(all_of_them=True)
    assert answer.status == 422
    assert answer.json()["code"] == "invalid_feedback"
    assert why in answer.json()["message"]
    assert stored(captured) == []


async def test_other_requests_are_refused(captured: Path) -> None:
    coded = {"authorization": f"Bearer {KEY.text}", "content-encoding": "gzip"}
    async with Serving(replace(ROUTE, capture=OFF), captured=captured) as gateway:
        client = gateway.client()
        answers = [
            await client.request(PATH, method="GET"),
            await client.request(PATH, b"x", headers=coded),
            await client.request(PATH, b"x" * ((1 << 20) + 1)),
        ]
    assert [(answer.status, answer.json()["code"]) for answer in answers] == [
        (405, "method_not_allowed"),
        (415, "invalid_feedback"),
        (413, "feedback_too_large"),
    ]


async def test_large_feedback_is_taken_in_pieces(captured: Path) -> None:
    body = {"prediction_id": "a", "truth": ["x" * 60] * 10_000}
    async with Serving(replace(ROUTE, capture=OFF), captured=captured) as gateway:
        answer = await gateway.client().request(PATH, json.dumps(body).encode())
        await all_closed(gateway.gateway, captured)
    assert (answer.status, answer.json()) == (200, {"stored": 10_000})
    assert len(stored(captured)) == 10_000


async def test_what_waits_to_be_stored_is_bounded(
    captured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feedback, "MOST_HELD", 100)
    go_on = threading.Event()
    body = b'{"prediction_id": "a", "truth": "%s"}' % (b"x" * 60)
    async with Serving(replace(ROUTE, capture=OFF), captured=captured) as gateway:
        gateway.gateway._storing.submit(go_on.wait, 60)
        clients = [gateway.client(), gateway.client()]
        tasks = [asyncio.create_task(client.request(PATH, body)) for client in clients]
        [refused], [waiting] = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        go_on.set()
        answers = [await refused, await waiting, await clients[0].request(PATH, body)]
    assert [answer.status for answer in answers] == [503, 200, 200]
    assert answers[0].json()["code"] == "feedback_full"


async def test_rules_hold_for_truths(captured: Path) -> None:
    ruled = replace(OFF, drop=("name",), hashed=("id",), key=b"key".hex())
    async with Serving(replace(ROUTE, capture=ruled), captured=captured) as gateway:
        truth = {"name": "secret", "id": 7, "label": 1}
        body = json.dumps({"prediction_id": "a", "truth": truth}).encode()
        answer = await gateway.client().request(PATH, body)
        await all_closed(gateway.gateway, captured)
    assert answer.status == 200
    assert stored(captured) == [("a", 0, {"id": hash_value(7, b"key"), "label": 1}, KEY.id)]


async def test_without_room_nothing_is_acknowledged_and_nothing_is_thrown_away(
    captured: Path,
) -> None:
    little = replace(OFF, space=500)
    body = json.dumps({"prediction_id": "a", "truth": "x" * 300}).encode()
    async with Serving(replace(ROUTE, capture=little), captured=captured) as gateway:
        client = gateway.client()
        answers = [await client.request(PATH, body) for _ in range(4)]
        await all_closed(gateway.gateway, captured)
    assert [answer.status for answer in answers] == [200, 200, 503, 503]
    assert answers[2].json()["code"] == "feedback_full"
    assert answers[2].headers["retry-after"] == "1"
    assert len(stored(captured)) == 2


async def test_a_service_whose_feedback_cannot_be_stored_says_so(tmp_path: Path) -> None:
    (tmp_path / "captured").write_text("a file where a folder is to be")
    async with Serving(replace(ROUTE, capture=OFF), captured=tmp_path / "captured") as gateway:
        answer = await gateway.client().request(PATH, b'{"prediction_id": "a", "truth": 1}')
    assert (answer.status, answer.json()["code"]) == (503, "feedback_full")


async def test_what_was_acknowledged_outlives_a_killed_gateway(stage: Stage) -> None:
    acknowledged = []
    with GatewayProcess(stage.folder) as gateway:
        gateway.configure(replace(ROUTE, capture=OFF))
        for turn in range(2):
            client = gateway.client()
            for number in range(20):
                name = f"{turn}-{number}"
                body = json.dumps({"prediction_id": name, "truth": number}).encode()
                assert (await client.request(PATH, body)).status == 200
                acknowledged.append(name)
            client.close()
            gateway.kill()
            gateway.start()
    found = stored(stage.folder / "captured")
    assert sorted(prediction for prediction, *_ in found) == sorted(acknowledged)
