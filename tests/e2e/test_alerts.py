"""Somebody is told that records are dropped, by a product that runs."""

from __future__ import annotations

import json
import time

from tests.receivers import PATIENCE, hooks

import modelyard


def test_dropped_records_reach_a_webhook(yard: modelyard.Client, breakable: str) -> None:
    yard.services.deploy(
        "watched",
        breakable,
        capture="100%",
        capture_space="1MiB",
        alerts=["capture_drops>0", "error_rate > 5.0%"],
    )
    with hooks() as receiver:
        yard.alerts.add_channel("ops", webhook=receiver.url)
        yard.services.score("watched", {"number": 1})
        _wait(yard, "ok")
        for _ in range(3):
            yard.services.score("watched", {"text": "x" * 700_000})
        _wait(yard, "firing")
        told = json.loads(receiver.wait_for(1)[0].body)
        assert (told["service"], told["rule"]) == ("watched", "capture_drops>0")
        assert "records of requests were dropped in the last 5 minutes" in told["text"]
        yard.alerts.delete_channel("ops")
    yard.services.delete("watched")


def _wait(yard: modelyard.Client, state: str) -> None:
    """Until the alert about dropped records stands so."""
    deadline = time.monotonic() + PATIENCE
    while True:
        alerts = {one.rule: one.state.value for one in yard.alerts.list("watched")}
        if alerts.get("capture_drops>0") == state:
            return
        assert time.monotonic() < deadline, alerts
        time.sleep(0.2)
