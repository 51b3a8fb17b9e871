"""`modelyard doctor`: what it prints, and when it fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.cli.conftest import Run

from modelyard.agent.doctor.finding import Finding, good, missing
from modelyard.cli import doctor as module


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch, home: object) -> list[Finding]:
    seen = [good("sandbox", "bubblewrap"), missing("engine", "none answers", "start podman")]
    monkeypatch.setattr(module, "examine", lambda settings: iter(seen))
    return seen


def test_every_line_has_its_reason_and_its_fix(run: Run, found: list[Finding]) -> None:
    shown = run("doctor").stdout
    assert "engine   missing  none answers" in shown
    assert "engine: start podman" in shown
    assert shown.splitlines()[1].startswith("server")


def test_as_data(run_json: Callable[..., Any], found: list[Finding]) -> None:
    lines = {line["name"]: line for line in run_json("doctor")}
    assert lines["engine"]["grade"] == "missing"
    assert lines["sandbox"]["fix"] == ""


def test_it_fails_when_something_needed_is_missing(run: Run, found: list[Finding]) -> None:
    found.append(missing("home", "read only", "another folder", required=True))
    assert "home: another folder" in run("doctor", code=1).stdout


def test_a_setting_that_is_not_valid(
    run: Run, monkeypatch: pytest.MonkeyPatch, found: list[Finding]
) -> None:
    monkeypatch.setenv("MODELYARD_SANDBOX", "maybe")
    assert "sandbox" in run("doctor", code=1).stderr
