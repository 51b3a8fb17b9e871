"""`modelyard alert …`, and where else alerts are shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.cli.conftest import Run
from tests.unit.client.fake_server import FakeServer

WHEN = "2026-03-01T12:00:00Z"


def alert(rule: str, state: str, sentence: str) -> dict[str, Any]:
    return {
        "service": "digits",
        "rule": rule,
        "state": state,
        "since": WHEN,
        "sentence": sentence,
        "found_at": "2026-03-01T11:56:00Z" if state == "firing" else None,
        "checked_at": WHEN,
        "fired_at": WHEN if state == "firing" else None,
    }


@pytest.fixture
def firing(run: Run, server: FakeServer, deployed: None) -> None:
    run("service", "update", "digits", "--alert", "error_rate>5%", "--alert", "silence>1h")
    server.alerts = [
        alert("silence>1h", "ok", "the last request came 20 seconds ago"),
        alert("error_rate>5%", "firing", "10.0 % of 100 requests failed"),
    ]


@pytest.mark.usefixtures("firing")
class TestFiring:
    def test_comes_first(self, run: Run) -> None:
        title, first, second = run("alert", "list").stdout.splitlines()
        assert title.split()[:3] == ["SERVICE", "RULE", "STATE"]
        assert "firing" in first
        assert "2026-03-01 11:56" in first
        assert first.endswith("10.0 % of 100 requests failed")
        assert second.endswith("the last request came 20 seconds ago")

    def test_is_shown_with_its_service(self, run: Run) -> None:
        shown = run("service", "show", "digits").stdout
        assert "10.0 % of 100 requests failed (error_rate>5%, as of 2026-03-01 11:56 UTC)" in shown
        assert "20 seconds ago" not in shown

    def test_is_said_of_one_that_is_ready(self, run: Run, server: FakeServer) -> None:
        said = run("why", "digits").stdout
        assert said == (
            "digits is ready, and fires alerts:\n"
            "  10.0 % of 100 requests failed (error_rate>5%, as of 2026-03-01 11:56 UTC)\n"
        )
        server.alerts = []
        assert "nothing is wrong" in run("why", "digits").stdout


class TestChannels:
    def test_webhook(self, run: Run, run_json: Callable[..., Any], server: FakeServer) -> None:
        added = run("alert", "channel", "add", "ops", "--webhook", "https://a.example/x")
        assert "whsec_x" in added.stdout
        assert "not shown again" in added.stderr
        body = json.loads(server.asked("POST", "/api/v1/alerts/channels")[0].content)
        assert body == {"name": "ops", "webhook": "https://a.example/x"}
        assert run_json("alert", "channel", "list")[0]["name"] == "ops"
        assert "ops has got a message" in run("alert", "channel", "test", "ops").stdout
        run("alert", "channel", "delete", "ops", "--yes")
        assert server.asked("DELETE", "/api/v1/alerts/channels/ops")

    def test_only_what_is_there_is_asked_about(self, run: Run) -> None:
        run("alert", "channel", "add", "ops", "--webhook", "https://a.example/x")
        assert "say --yes" in run("alert", "channel", "delete", "ops", code=2).stderr
        assert "--yes" not in run("alert", "channel", "delete", "none-such").stderr

    def test_mail(self, run: Run) -> None:
        added = run("alert", "channel", "add", "nina", "--email", "nina@example.org").stdout
        assert "nina@example.org" in added
        assert "secret" not in added

    def test_one_that_gets_nothing(self, run: Run) -> None:
        said = run("alert", "channel", "test", "nobody", code=1).stdout
        assert said == "nobody has got nothing: nobody is there\n"

    @pytest.mark.parametrize(
        ("words", "why"),
        [
            (("ops",), "give either `webhook` or `email`"),
            (("ops", "--webhook", "https://a", "--email", "a@b"), "give either"),
            (("Ops!", "--email", "a@b"), "the name of a channel is made of lower-case letters"),
            (("ops", "--webhook", "a b"), "this is not the URL of a webhook: write `https://"),
            (("ops", "--email", "a"), "this is not an e-mail address: write one alone, `name@"),
        ],
    )
    def test_what_is_none(self, run: Run, words: tuple[str, ...], why: str) -> None:
        said = run("alert", "channel", "add", *words, code=1).stderr
        assert "the channel is not valid" in said
        assert why in " ".join(said.split())
