from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.client.fake_server import FakeServer
from typer.testing import CliRunner, Result

from modelyard.cli.root import app

Run = Callable[..., Result]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> FakeServer:
    server = FakeServer()
    monkeypatch.setattr("modelyard.cli.session.client", server.client)
    return server


@pytest.fixture
def run(server: FakeServer) -> Run:
    """Run a command; anything but an exit status or a clean error fails the test."""

    def call(*words: str, code: int = 0, stdin: str | None = None) -> Result:
        result = CliRunner().invoke(app, list(words), input=stdin, catch_exceptions=False)
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result

    return call


@pytest.fixture
def run_json(run: Run) -> Callable[..., Any]:
    """Run a command with `-o json` and read what it printed on stdout, which is data only."""
    return lambda *words, code=0: json.loads(run(*words, "-o", "json", code=code).stdout)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "model.pkl").write_bytes(b"\x80\x04model")
    (tmp_path / "score.py").write_text("def run(data):\n    return data\n")
    (tmp_path / "requirements.txt").write_text("scikit-learn==1.9.1\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def deployed(run: Run, project: Path) -> None:
    run("deploy", "digits", "--model", "model.pkl", "--script", "score.py", "--sample", "[[1, 2]]")
