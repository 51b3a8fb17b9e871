"""What a running product counts, and that it loses nothing of it."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
from prometheus_client.parser import text_string_to_metric_families

import modelyard

PATIENCE = 60.0


def eventually(look: Callable[[], object], wanted: object) -> None:
    deadline = time.monotonic() + PATIENCE
    while (found := look()) != wanted:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def test_nothing_is_lost_while_replicas_are_killed_and_taken_away(
    yard: modelyard.Client, breakable: str
) -> None:
    service = yard.services.deploy("counted", breakable, replicas=2, cpu=2)
    key = yard.services.keys("counted").primary
    page = str(service.scoring_uri).removesuffix("score") + "metrics"
    headers = {"authorization": f"Bearer {key}"}

    def counted(name: str = "modelyard_requests_total") -> float:
        answer = httpx2.get(page, headers=headers, trust_env=False)
        if answer.status_code == 503:  # the agent is being started
            return -1
        families = text_string_to_metric_families(answer.text)
        samples = [sample for family in families for sample in family.samples]
        found = [s for s in samples if s.name == name and s.labels["service"] == "counted"]
        return sum(sample.value for sample in found)

    def score(times: int) -> None:
        for number in range(times):
            assert yard.services.score("counted", {"number": number})["answer"] == "forty-two"

    def settle(wanted: int) -> None:
        """Replicas also count the sample that each of them scores before it gets requests."""
        eventually(lambda: counted("modelyard_gateway_requests_total"), wanted)
        eventually(lambda: max(wanted, min(counted(), wanted + 4)) - counted(), 0)

    score(40)
    settle(40)
    replicas = Path(os.environ["MODELYARD_HOME"]) / "agent" / "replicas"
    (state,) = (folder / "state.json" for folder in replicas.glob("counted-*-0"))
    before = counted()
    supervisor = json.loads(state.read_text())["pid"]
    os.kill(supervisor, signal.SIGKILL)
    eventually(lambda: json.loads(state.read_text())["pid"] == supervisor, False)
    eventually(lambda: counted("modelyard_replicas_ready"), 2)
    assert before <= counted() <= before + 1
    score(10)
    yard.services.scale("counted", 1)
    agent = json.loads((replicas.parent / "agent.json").read_text())["pid"]
    os.kill(agent, signal.SIGKILL)
    settle(50)
    assert httpx2.get(page, trust_env=False).status_code == 401

    score(50)
    load = next(load for load in yard.services.top() if load.service == "counted")
    deadline = time.monotonic() + PATIENCE
    while not load.requests or load.p99 is None:
        assert time.monotonic() < deadline, load
        score(5)
        load = next(load for load in yard.services.top() if load.service == "counted")
    assert (load.ready, load.errors) == (1, 0)
    assert 0 < load.p99 < 60
    yard.services.delete("counted")
