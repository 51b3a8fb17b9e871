"""Traces, metrics and logs of a real replica, sent to a real receiver."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.integration.runtime.otlp import Receiver, attributes, receiving
from tests.integration.runtime.replica import Replica, replica
from tests.integration.runtime.wire import PATIENCE, Wire, request

GUIDE = Path(__file__).parents[3] / "docs" / "guides" / "send-telemetry.md"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SCRIPT = """
from opentelemetry import propagate, trace

tracer = trace.get_tracer("mine")

{head} run(data: dict):
    print("hello", data["name"])
    with tracer.start_as_current_span("step") as span:
        span.set_attribute("name", data["name"])
        fields = {{}}
        propagate.inject(fields)
    if data["name"] == "bad": raise ValueError("wrong")
    return fields
"""


def settings(receiver: Receiver, **more: str) -> dict[str, str]:
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
        "OTEL_EXPORTER_OTLP_HEADERS": "api-key=of-tests",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=test",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_BLRP_SCHEDULE_DELAY": "100",
        "OTEL_METRIC_EXPORT_INTERVAL": "200",
        **more,
    }


def eventually(look: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def score(running: Replica, name: str, **headers: str) -> Any:
    with Wire(running.socket) as wire:
        body = json.dumps({"name": name}).encode()
        wire.send(request("POST", "/score", body, headers, close=True))
        return wire.answer()


def span(receiver: Receiver, name: str, trace_id: str = TRACE) -> Any:
    def find() -> Any:
        ours = (one for one in receiver.spans if one.name == name)
        return next((one for one in ours if one.trace_id.hex() == trace_id), None)

    return eventually(find)


@pytest.mark.parametrize("head", ["def", "async def"])
def test_a_request_is_part_of_its_callers_trace(head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as receiver:
        for name, value in settings(receiver).items():
            monkeypatch.setenv(name, value)
        with replica(SCRIPT.format(head=head), workers=2) as running:
            traced = {"traceparent": f"00-{TRACE}-{PARENT}-01", "x-request-id": "mine"}
            answer = score(running, "good", **traced)
            assert answer.status == 200
            bad = TRACE.replace("0af", "1af")
            refused = score(running, "bad", traceparent=f"00-{bad}-{PARENT}-01")
            assert refused.status == 500
            server, run, step = (span(receiver, n) for n in ("POST /score", "run", "step"))
            failed = span(receiver, "POST /score", bad)
            line = eventually(
                lambda: next(
                    (r for r in receiver.logs if r.body.string_value == "hello good"), None
                )
            )
            eventually(lambda: counted(receiver) == 2)
    assert server.parent_span_id.hex() == PARENT
    assert (run.parent_span_id, step.parent_span_id) == (server.span_id, run.span_id)
    assert answer.json()["traceparent"] == f"00-{TRACE}-{step.span_id.hex()}-01"
    told = attributes(server)
    assert (told["http.response.status_code"], told["modelyard.request_id"]) == (200, "mine")
    assert told["modelyard.run_seconds"] > 0
    assert failed.status.code == 2
    assert [event.name for event in failed.events] == ["exception"]
    assert (line.trace_id.hex(), line.span_id) == (TRACE, run.span_id)
    assert attributes(line)["modelyard.request_id"] == "mine"
    assert all(headers["api-key"] == "of-tests" for headers in receiver.headers)
    assert {resource["service.name"] for resource in receiver.resources} == {"flowers"}
    assert receiver.resources[0]["deployment.environment"] == "test"


def test_the_script_of_the_guide(monkeypatch: pytest.MonkeyPatch) -> None:
    (script,) = re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    with receiving() as receiver:
        for name, value in settings(receiver).items():
            monkeypatch.setenv(name, value)
        with replica(script, workers=1) as running, Wire(running.socket) as wire:
            fields = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
            wire.send(request("POST", "/score", b"[[1, 2], [3, 4]]", fields, close=True))
            assert wire.answer().json() == [3, 7]
            run, features = (span(receiver, name) for name in ("run", "features"))
    assert features.parent_span_id == run.span_id


def counted(receiver: Receiver) -> float:
    """Requests in the newest figures, whatever their status."""
    ours = [one for one in receiver.metrics if one.name == "modelyard_requests"]
    if not ours:
        return 0
    assert ours[-1].sum.is_monotonic
    times = next(m for m in receiver.metrics if m.name == "modelyard_request_duration_seconds")
    assert (times.unit, times.histogram.aggregation_temporality) == ("s", 2)
    return sum(point.as_double or point.as_int for point in ours[-1].sum.data_points)


def test_each_signal_can_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as receiver:
        chosen = settings(receiver, OTEL_TRACES_EXPORTER="none", OTEL_LOGS_EXPORTER="none")
        for name, value in chosen.items():
            monkeypatch.setenv(name, value)
        with replica(SCRIPT.format(head="def"), workers=1) as running:
            assert score(running, "good").json() == {}
            eventually(lambda: counted(receiver) == 1)
    assert (receiver.spans, receiver.logs) == ([], [])


def test_a_receiver_that_is_gone_costs_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as receiver:
        gone = settings(receiver)
    for name, value in {**gone, "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}.items():
        monkeypatch.setenv(name, value)
    with replica(SCRIPT.format(head="def"), workers=1) as running:
        for _ in range(3):
            assert score(running, "good").status == 200
            time.sleep(0.2)


def test_without_settings_nothing_of_it_is_imported() -> None:
    script = """
import sys
def run(data: dict):
    return sorted(name for name in sys.modules if name.startswith(("opentelemetry", "requests")))
"""
    with replica(script, workers=1) as running:
        assert score(running, "good").json() == []
