"""Figures on their way from an agent to a person."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient
from tests.factories import add_service
from tests.integration.api.told import DEPLOYMENT, MINUTES, told

from modelyard.app import Parts
from modelyard.control import telemetry
from modelyard.domain.captured import Tally
from modelyard.domain.service import Service

FIGURES = "/api/v1/agents/local/figures"
METRICS = "/api/v1/services/digits/metrics"


@pytest.fixture
def service(parts: Parts) -> Service:
    with parts.database.write() as tx:
        add_service(tx, "silent")
        return add_service(tx)


def moment(number: int) -> datetime:
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    return now - timedelta(minutes=30 - number)


def minute(number: int, *deployments: Any) -> Any:
    return {"begins": moment(number).isoformat(), "deployments": deployments}


def test_the_load_of_now(
    agent: TestClient, owner: TestClient, parts: Parts, service: Service
) -> None:
    clock = [time.monotonic()]
    parts.platform.telemetry._clock = lambda: clock[0]
    assert [load["requests"] for load in owner.get("/api/v1/top").json()] == [0, 0]
    for ok, failed in ((100, 0), (140, 10), (200, 20)):
        body = {"deployments": [told(service, ok, failed, memory_bytes=5e6, replicas_ready=2)]}
        assert agent.put(FIGURES, json=body).status_code == 204
        clock[0] += 5
    digits, silent = owner.get("/api/v1/top").json()
    assert (digits["service"], silent["service"]) == ("digits", "silent")
    assert digits["requests"] == pytest.approx(12)  # 120 in ten seconds
    assert digits["errors"] == pytest.approx(2)
    assert digits["cpu"] == pytest.approx(1)
    assert 0.01 < digits["p50"] <= digits["p99"] <= 0.025
    assert (digits["memory"], digits["ready"]) == (5e6, 2)
    assert silent["p50"] is None
    clock[0] += telemetry.SILENCE
    assert [load["requests"] for load in owner.get("/api/v1/top").json()] == [0, 0]


def test_the_history_of_a_service(agent: TestClient, owner: TestClient, service: Service) -> None:
    minutes = [
        minute(0, told(service, 60, 6, memory_bytes=5e6)),
        minute(1, told(service, 120, took=0.2, memory_bytes=7e6)),
        minute(7, told(service, 6, memory_bytes=6e6)),
    ]
    for _ in range(2):  # a lost answer does no harm
        assert agent.post(MINUTES, json=minutes).status_code == 204
    found = owner.get(METRICS, params={"last": 3600}).json()
    assert (found["service"], found["step"]) == ("digits", 60)
    first, second, third = found["points"]
    assert datetime.fromisoformat(first["begins"]) == moment(0)
    assert (first["requests"], first["errors"]) == (1.1, 0.1)
    assert 0.01 < first["p99"] < 0.025 < 0.1 < second["p50"] <= 0.25
    assert datetime.fromisoformat(third["begins"]) == moment(7)

    points = owner.get(METRICS, params={"last": 3600, "step": 7200}).json()["points"]
    assert sum(point["requests"] * 7200 for point in points) == pytest.approx(66 + 120 + 6)
    assert max(point["memory"] for point in points) == 7e6


def test_steps_that_are_too_many_or_too_short_are_refused(
    owner: TestClient, service: Service
) -> None:
    week = telemetry.KEEP_MINUTES.total_seconds()
    assert owner.get(METRICS, params={"last": week, "step": 60}).status_code == 400
    assert owner.get(METRICS, params={"last": week}).json()["points"] == []
    assert owner.get(METRICS, params={"last": week + 1}).status_code == 400
    assert owner.get(METRICS, params={"step": 5}).status_code == 400
    assert owner.get("/api/v1/services/nobody/metrics").status_code == 404


def test_figures_that_are_none_are_refused(agent: TestClient, service: Service) -> None:
    body = told(service, 1)
    body["figures"]["modelyard_made_up"] = {"": [1.0]}
    assert agent.put(FIGURES, json={"deployments": [body]}).status_code == 400
    assert agent.post(MINUTES, json=[minute(0, body)]).status_code == 400
    assert agent.post(MINUTES, json=[minute(n) for n in range(101)]).status_code == 400


def test_an_agent_tells_nothing_of_services_of_others(
    agent: TestClient, owner: TestClient, service: Service
) -> None:
    wrong_id = told(service, 5) | {"service": str(uuid4())}
    wrong_name = told(service, 5) | {"service_name": "silent"}
    agent.put(FIGURES, json={"deployments": [wrong_id, wrong_name]})
    assert "modelyard_gateway" not in owner.get("/metrics").text


def test_the_page_for_prometheus(
    agent: TestClient, owner: TestClient, parts: Parts, service: Service
) -> None:
    agent.put("/api/v1/agents/local/observed", json={})  # refused, and counted
    body = {"deployments": [told(service, 7)], "agent": {"modelyard_agent_memory_bytes": {"": [5]}}}
    agent.put(FIGURES, json=body)
    owner.get("/api/v1/services/digits")
    owner.get("/nowhere")
    counts = {"answered": 9, "captured": 6, "sampled_out": 2, "dropped": 1}
    tally = Tally(id="a" * 16, service=service.id, service_name="digits", **counts)
    with parts.database.write() as tx:
        tx.captured.count("default", [tally])
    answer = owner.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    requests = "modelyard_server_requests_total"
    assert found[requests, "GET", "/services/{name}", "200"] == 1
    assert found[requests, "PUT", "/agents/{agent}/observed", "400"] == 1
    assert found[requests, "other", "other", "404"] == 1
    took = "modelyard_server_request_duration_seconds_count"
    assert found[took, "GET", "/services/{name}"] == 1
    assert found["modelyard_agent_memory_bytes", "local"] == 5
    labels = ("digits", DEPLOYMENT, *service.image.split(":"))
    assert found["modelyard_gateway_requests_total", *labels, "200"] == 7
    assert found["modelyard_server_services", "Transitioning"] == 2
    assert found["modelyard_server_capture_requests", "digits", "dropped"] == 1
    assert found["modelyard_server_capture_requests", "digits", "answered"] == 9
    assert found["modelyard_server_cpu_seconds_total",] > 0
    assert agent.get("/metrics").status_code == 403


def test_logs_of_one_request(agent: TestClient, owner: TestClient, service: Service) -> None:
    text = "".join(f"2026-11-27T09:30:00Z request {n % 2}: line {n}\n" for n in range(2500))
    segment = {"service": str(service.id), "replica": "r", "epoch": 1, "sequence": 0, "text": text}
    assert agent.post("/api/v1/agents/local/logs", json=segment).status_code == 200
    answer = owner.get("/api/v1/services/digits/logs", params={"request": "1"})
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["text"] for line in lines] == [f"line {n}" for n in range(1, 2500, 2)]
    assert {line["request"] for line in lines} == {"1"}
