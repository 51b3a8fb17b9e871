from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.client.deploying import deploy
from tests.unit.client.fake_server import FakeServer

from modelyard.client import Client
from modelyard.errors import InvalidRequest, ReplayFailed

FILE = """
name: digits
model: model.pkl
script: score.py
requirements: requirements.txt
tags: {new: "yes"}
settings: {memory: 3GiB}
replay: {requests: 50, max_diff: 2%, tolerance: {ignore: [took]}}
"""


@pytest.fixture(autouse=True)
def _service(yard: Client, project: Path) -> None:
    deploy(yard, project)


def updates(server: FakeServer) -> list[dict[str, Any]]:
    asked = server.asked("PATCH", "/api/v1/services/digits")
    return [json.loads(request.content) for request in asked]


def replays(server: FakeServer) -> list[dict[str, Any]]:
    asked = server.asked("POST", "/api/v1/services/digits/replays")
    return [json.loads(request.content) for request in asked]


def test_an_update_names_the_replay_that_it_has_passed(yard: Client, server: FakeServer) -> None:
    server.differing = 1
    yard.services.update("digits", cpu=2, replay=1000, max_diff="2%")
    (replay,), (update,) = replays(server), updates(server)
    assert (replay["requests"], replay["max_diff"]) == (1000, 2.0)
    assert (replay["image"], replay["settings"]) == ("digits:1", {"cpu": 2.0})
    assert update["replay"] in server.operations


def test_nothing_is_asked_for_that_has_not_passed(yard: Client, server: FakeServer) -> None:
    server.differing = 1
    with pytest.raises(ReplayFailed, match=r"1 of 99 requests .* 1\.01 %; 0 % may be") as failed:
        yard.services.update("digits", cpu=2, replay=1000)
    assert failed.value.details["replay"] in server.operations
    assert updates(server) == []


def test_what_may_differ_is_of_a_replay(yard: Client) -> None:
    with pytest.raises(InvalidRequest, match="there is none"):
        yard.services.update("digits", cpu=2, max_diff="2%")
    with pytest.raises(InvalidRequest, match="requests"):
        yard.services.update("digits", cpu=2, replay=0)


def test_a_service_file_asks_for_it_before_anything_changes(
    yard: Client, server: FakeServer, project: Path
) -> None:
    (project / "service.yaml").write_text(FILE)
    server.differing = 2
    planned = yard.deploy_file(project / "service.yaml", plan=True).steps[-1]
    assert "only if it passes a replay of 50 requests" in planned.changes
    with pytest.raises(ReplayFailed):
        yard.deploy_file(project / "service.yaml")
    assert updates(server) == []
    assert server.asked("PATCH", "/api/v1/services/digits/labels") == []
    server.differing = 1
    yard.deploy_file(project / "service.yaml")
    assert replays(server)[-1]["tolerance"]["ignore"] == ["took"]
    assert updates(server)[0]["replay"] in server.operations
    assert len(server.asked("PATCH", "/api/v1/services/digits/labels")) == 1


def test_reports_are_listed_without_what_else_was_done(yard: Client, server: FakeServer) -> None:
    yard.services.update("digits", cpu=2, replay=1000, max_diff="2%")
    (report,) = yard.replays.list()
    assert str(report.id) == updates(server)[0]["replay"]
    assert len(server.operations) > 1
    assert yard.replays.list(limit=0) == ()
