"""How services are used: tables, charts, JSON."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.conftest import Run
from tests.unit.client.fake_server import LOAD, FakeServer

from modelyard.cli import blocks, top


@pytest.fixture(autouse=True)
def _service(run: Run, project: Path) -> None:
    run("model", "register", "digits", "model.pkl")
    run("image", "build", "digits", "--model", "digits", "--script", "score.py")
    run("service", "deploy", "digits", "--image", "digits:1")


def test_the_load_of_now_once_where_there_is_no_terminal(
    run: Run, run_json: Callable[..., Any]
) -> None:
    title, line = run("top").stdout.splitlines()
    assert "SERVICE READY REQ/S 5XX/S 4XX/S P50" in " ".join(title.split())
    assert " ".join(line.split()) == "digits 1/2 12 0.5 0 4 ms 310 ms 3 0.75 64.0 MiB"
    assert run_json("top") == [LOAD]


def test_a_service_that_sleeps_says_so(run: Run, server: FakeServer) -> None:
    server.load |= {"asleep": True, "ready": 0.0, "replicas": 0.0}
    assert run("top").stdout.splitlines()[1].split()[:2] == ["digits", "asleep"]
    server.services["digits"]["status"] = {"state": "Healthy", "asleep": True}
    assert "Healthy, asleep" in run("service", "list").stdout
    assert "Healthy, asleep" in run("service", "show", "digits").stdout


def test_on_a_terminal_until_it_is_interrupted(
    run: Run, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(top.time, "sleep", sleep)
    monkeypatch.setattr(top, "_is_live", lambda: True)
    run("top", code=130)
    assert len(server.asked("GET", "/api/v1/top")) == 3


def test_the_history_of_a_service(
    run: Run, run_json: Callable[..., Any], server: FakeServer
) -> None:
    shown = run("service", "metrics", "digits", "--last", "2h", "--step", "5m").stdout
    assert "2026-11-27 09:33:00" in shown
    (asked,) = server.asked("GET", "/api/v1/services/digits/metrics")
    assert dict(asked.url.params) == {"last": "7200.0", "step": "300.0"}
    found = run_json("service", "metrics", "digits")
    assert [point["requests"] for point in found["points"]] == [4, 8, 2]
    assert (
        "write a duration" in run("service", "metrics", "digits", "--last", "soon", code=1).stderr
    )


def test_charts(run: Run) -> None:
    shown = run("service", "metrics", "digits", "--plot").stdout
    first = shown.split("\n\n")[0].splitlines()
    assert first[0] == "requests/s  (most: 8.0)"
    column = 15  # characters a minute
    top_row, bottom = (line.partition("|")[2] for line in (first[1], first[-2]))
    assert top_row == " " * column + "█" * column + " " * 2 * column
    assert bottom[:column] + bottom[2 * column : 3 * column] == "█" * column + " " * column
    assert first[-1].split() == ["09:30", "09:33", "UTC"]
    assert "p99" in shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (2 / 60, "0.033"), (1 / 10800, "0.000093"), (0.1, "0.1"), (4.25, "4.2"), (12, "12")],
)
def test_a_failure_never_looks_like_none(value: float, shown: str) -> None:
    assert top.rate(value) == shown


@pytest.mark.parametrize(("encoding", "full"), [("utf-8", "█"), ("ascii", "#")])
def test_a_chart_is_of_what_the_terminal_can_show(
    encoding: str, full: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Output:
        pass

    output = Output()
    output.encoding = encoding  # type: ignore[attr-defined]
    monkeypatch.setattr(blocks.sys, "stdout", output)
    drawn = blocks.chart("x", [1.0, None, 0.0, 0.001], str, ("a", "b")).splitlines()
    assert drawn[1].endswith("|" + full * 15 + " " * 45)
    smallest = drawn[6].partition("|")[2]
    assert smallest[15:45].strip() == ""
    assert smallest[45:].strip() != ""
    assert blocks.chart("x", [0.0, None], str, ("a", "b")) == "x  (none)"
