from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.conftest import Run
from tests.unit.client.fake_server import TOKEN, FakeServer

from modelyard.client.connection import Address
from modelyard.client.local import LocalServer, RunningServer
from modelyard.errors import ServerUnreachable

ADDRESS = Address("http://127.0.0.1:7878", TOKEN)


class Machine:
    """This machine, with or without a server."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, server: FakeServer) -> None:
        self.runs = False
        self.starts = 0
        self.error: Exception | None = None
        monkeypatch.setattr(LocalServer, "find", lambda _: ADDRESS if self.runs else None)
        monkeypatch.setattr(LocalServer, "running", lambda _: self._running())
        monkeypatch.setattr(LocalServer, "ensure_running", lambda _: self._start())
        monkeypatch.setattr(LocalServer, "wait_until_stopped", lambda *_: True)
        client = lambda address, local=None: server.client()  # noqa: E731
        monkeypatch.setattr("modelyard.cli.server.Client", client)

    def _running(self) -> RunningServer | None:
        return RunningServer(url=ADDRESS.url, pid=4711) if self.runs else None

    def _start(self) -> Address:
        if self.error is not None:
            raise self.error
        self.starts += 1
        self.runs = True
        return ADDRESS


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, server: FakeServer, home: Path) -> Machine:
    monkeypatch.delenv("MODELYARD_URL", raising=False)
    return Machine(monkeypatch, server)


class TestStart:
    def test_once(self, run: Run, run_json: Callable[..., Any], machine: Machine) -> None:
        assert run("server", "start").stdout == "http://127.0.0.1:7878\n"
        assert run_json("server", "start")["started"] is False
        assert machine.starts == 1

    def test_failure_shows_the_log(self, run: Run, machine: Machine) -> None:
        machine.error = ServerUnreachable("it ended; its last lines:\n  Conf\x1b", hint="h")
        shown = run("server", "start", code=1).stderr
        assert shown == "error: it ended; its last lines:\n  Conf\\x1b\nhint: h\n"

    def test_in_the_foreground_becomes_the_server(
        self, run: Run, machine: Machine, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        called: list[Any] = []

        def execve(*arguments: Any) -> None:
            called.extend(arguments)
            raise SystemExit(0)

        monkeypatch.setattr(os, "execve", execve)
        run("server", "start", "--foreground")
        assert called[1][1:] == ["-P", "-m", "modelyard.app"]
        assert called[2]["MODELYARD_HOME"] == str(home / "home")


class TestStop:
    def test_server_alone(self, run: Run, server: FakeServer, machine: Machine) -> None:
        machine.runs = True
        assert "services go on answering" in run("server", "stop").stderr
        assert server.stopped is False

    def test_everything(
        self, run_json: Callable[..., Any], server: FakeServer, machine: Machine
    ) -> None:
        machine.runs = True
        assert run_json("server", "stop", "--all") == {"stopped": True, "everything": True}
        assert server.stopped is True

    def test_when_there_is_none(self, run: Run, server: FakeServer, machine: Machine) -> None:
        assert "does not run" in run("server", "stop").stderr
        assert "stopped everything" in run("server", "stop", "--all").stderr
        assert (server.stopped, machine.starts) == (None, 0)

    def test_everything_of_a_server_that_died_is_ended_without_starting_one(
        self, run: Run, machine: Machine, home: Path
    ) -> None:
        (home / "home" / "agent" / "replicas").mkdir(parents=True)
        run("server", "stop", "--all")
        assert machine.starts == 0


class TestStatus:
    def test_running(self, run: Run, run_json: Callable[..., Any], machine: Machine) -> None:
        machine.runs = True
        assert "running" in run("server", "status").stdout
        found = run_json("server", "status")
        assert (found["pid"], found["version"]) == (4711, "0.1.0")

    def test_stopped(self, run: Run, machine: Machine) -> None:
        result = run("server", "status", "-o", "json", code=1)
        assert json.loads(result.stdout)["state"] == "stopped"


@pytest.mark.parametrize("verb", ["start", "stop", "status"])
def test_a_server_elsewhere_is_not_the_local_one(
    run: Run, machine: Machine, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.setenv("MODELYARD_URL", "https://models.example.org")
    assert "unset MODELYARD_URL" in run("server", verb, code=1).stderr
