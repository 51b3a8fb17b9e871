"""What is shipped for Prometheus and Grafana, checked by Prometheus' own program."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.programs import program
from typer.testing import CliRunner

from modelyard.cli.root import app
from modelyard.domain.figures import AGENT, KNOWN, SERVED, SERVER, add, write
from modelyard_runtime.families import Family, Figures

Promtool = Callable[..., str]


@pytest.fixture
def promtool() -> Promtool:
    tool = program("promtool")

    def run(*arguments: str | Path, given: bytes = b"") -> str:
        command = [tool, *map(str, arguments)]
        done = subprocess.run(
            command, input=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        assert done.returncode == 0, done.stdout.decode()
        return done.stdout.decode()

    return run


def printed(*words: str) -> str:
    result = CliRunner().invoke(app, ["metrics", *words], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yml"
    path.write_text(printed("rules"))
    return path


def queries() -> list[str]:
    """Of every panel, with what Grafana puts in place of its variables."""
    board = json.loads(printed("dashboard"))
    found = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    assert len(found) > 20
    return [
        query.replace("$__rate_interval", "5m").replace("$service", "digits|iris")
        for query in found
    ]


def expressions() -> list[str]:
    groups = json.loads(printed("rules", "-o", "json"))["groups"]
    return [rule["expr"] for group in groups for rule in group["rules"]]


def test_rules_are_right(promtool: Promtool, rules: Path) -> None:
    assert f"{len(expressions())} rules found" in promtool("check", "rules", rules)


def test_every_query_of_the_dashboard_is_right(promtool: Promtool, tmp_path: Path) -> None:
    recorded = [{"record": f"q:{n}", "expr": query} for n, query in enumerate(queries())]
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": recorded}]}))
    promtool("check", "rules", path)


@pytest.mark.parametrize("texts", [queries, expressions])
def test_they_ask_for_metrics_and_labels_that_exist(texts: Callable[[], list[str]]) -> None:
    families = {family.name: family for family in (*KNOWN.values(), *SERVER)}
    known = {
        sample: family
        for name, family in families.items()
        for sample in (
            [f"{name}_{s}" for s in ("bucket", "sum", "count")] if family.bounds else [name]
        )
    }
    for text in texts():
        names = re.findall(r"\bmodelyard_\w+", text)
        assert names
        assert set(names) <= known.keys(), text


def test_alerts_fire_when_they_should_and_not_before(promtool: Promtool, tmp_path: Path) -> None:
    silent = json.loads(printed("rules", "-o", "json"))
    for group in silent["groups"]:
        for rule in group["rules"]:
            del rule["annotations"]  # these would have to be the same as well
    rules = tmp_path / "rules.yml"
    rules.write_text(yaml.safe_dump(silent))
    labels = 'service="digits",deployment="a",image="digits",version="1"'
    gateway, own = f"{{{labels},status=", '{service="digits",status='
    series = {
        f"modelyard_replicas{{{labels}}}": "2x60",
        f"modelyard_replicas_ready{{{labels}}}": "2x9 0x49",
        f'modelyard_gateway_requests_total{gateway}"200"}}': "0+60x60",
        f'modelyard_gateway_requests_total{gateway}"502"}}': "0x19 0+10x39",
        f'modelyard_gateway_requests_total{own}"503"}}': "0x29 0+10x29",
        f"modelyard_restarts_total{{{labels}}}": "0x39 5x19",
        'modelyard_server_agent_silence_seconds{agent="local"}': "1x49 100x9",
        'modelyard_agent_rollups_lost_total{agent="local"}': "0x59",
        'modelyard_server_capture_requests{service="digits",outcome="dropped"}': "7x39 9x19",
        'modelyard_server_requests_total{status="200"}': "0+60x59",
    }

    def fires(minute: int, alert: str, severity: str = "warning", **labels: str) -> dict[str, Any]:
        wanted = [{"exp_labels": {"severity": severity, **labels}}] if labels else []
        return {"eval_time": f"{minute}m", "alertname": alert, "exp_alerts": wanted}

    digits = {"service": "digits"}
    tests = [
        fires(9, "ModelyardServiceDown"),
        fires(13, "ModelyardServiceDown", "critical", **digits),
        fires(20, "ModelyardReplicaNotReady"),
        fires(26, "ModelyardReplicaNotReady", **digits),
        fires(19, "ModelyardErrors"),
        fires(32, "ModelyardErrors", "critical", **digits),
        fires(29, "ModelyardOverloaded"),
        fires(38, "ModelyardOverloaded", **digits),
        fires(38, "ModelyardRestarts"),
        fires(42, "ModelyardRestarts", **digits),
        fires(38, "ModelyardCaptureDrops"),
        fires(42, "ModelyardCaptureDrops", service="digits", outcome="dropped"),
        fires(48, "ModelyardAgentSilent"),
        fires(53, "ModelyardAgentSilent", "critical", agent="local"),
        fires(58, "ModelyardMinutesLost"),
        fires(58, "ModelyardServerErrors"),
    ]
    given = [{"series": name, "values": values} for name, values in series.items()]
    document = {
        "rule_files": [str(rules)],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": given, "alert_rule_test": tests}],
    }
    (tmp_path / "test.yml").write_text(yaml.safe_dump(document))
    promtool("test", "rules", tmp_path / "test.yml")


def example(family: Family) -> Figures:
    return {family.name: {labels: [1.0] * family.width for labels in family.series()[:3]}}


@pytest.mark.parametrize("families", [SERVED, AGENT, SERVER])
def test_names_kinds_and_units_are_as_prometheus_wants_them(
    promtool: Promtool, families: tuple[Family, ...]
) -> None:
    text = write([("", add(map(example, families)))], families)
    assert promtool("check", "metrics", given=text) == ""
