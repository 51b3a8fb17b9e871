"""Commands and the server they start: real processes on loopback."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import modelyard
from modelyard.client.local import LocalServer

COMMAND = [sys.executable, "-m", "modelyard.cli"]
REGISTER = """
import resource, sys, modelyard
with modelyard.connect() as yard:
    yard.models.list()
    idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yard.models.register("large", sys.argv[1])
    yard.models.download("large", sys.argv[1] + ".got")
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - idle)
"""


class Machine(NamedTuple):
    """A machine on which five commands were called at once, when no server ran."""

    local: LocalServer
    answers: list[str]
    statuses: list[int]


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    folder = Path(tempfile.mkdtemp(prefix="my-"))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MODELYARD_URL", raising=False)
        patch.setenv("MODELYARD_HOME", str(folder))
        patch.setenv("MODELYARD_SERVER_PORT", "0")
        patch.setenv("MODELYARD_GATEWAY_PORT", "0")
        commands = [
            subprocess.Popen([*COMMAND, "model", "list"], stdout=subprocess.PIPE, text=True)
            for _ in range(5)
        ]
        answers = [command.communicate()[0] for command in commands]
        local = LocalServer(folder)
        yield Machine(local, answers, [command.returncode for command in commands])
        subprocess.run([*COMMAND, "server", "stop", "--all"], check=True, capture_output=True)
        assert local.running() is None
    shutil.rmtree(folder)


def test_commands_that_start_at_once_start_one_server(machine: Machine) -> None:
    assert machine.statuses == [0] * 5
    assert [answer.split()[0] for answer in machine.answers] == ["MODEL"] * 5
    assert machine.local.log.read_text().count("Started server process") == 1


def test_a_wrong_token_is_refused(machine: Machine) -> None:
    url = machine.local.ensure_running().url
    with (
        modelyard.connect(url, token="wrong") as stranger,
        pytest.raises(modelyard.Unauthenticated),
    ):
        stranger.info()


def test_memory_does_not_grow_with_the_file(machine: Machine, tmp_path: Path) -> None:
    large = tmp_path / "large.bin"
    with large.open("wb") as file:
        file.truncate(256 << 20)
    done = subprocess.run(
        [sys.executable, "-c", REGISTER, str(large)], capture_output=True, text=True, check=True
    )
    grown = int(done.stdout) * (1 if sys.platform == "darwin" else 1024)
    assert grown < 40 << 20
    assert (tmp_path / "large.bin.got" / "large.bin").stat().st_size == 256 << 20


def test_the_next_command_replaces_a_server_that_was_killed(machine: Machine) -> None:
    machine.local.ensure_running()
    first = machine.local.running()
    assert first is not None
    os.kill(first.pid, signal.SIGKILL)
    assert machine.local.wait_until_stopped(first.pid, 10)
    assert machine.local.find() is None
    with modelyard.connect() as yard:
        assert yard.info().workspace == "default"
    second = machine.local.running()
    assert second is not None
    assert second.pid != first.pid


def test_a_server_that_cannot_start_says_why(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODELYARD_URL", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        monkeypatch.setenv("MODELYARD_SERVER_PORT", port)
        done = subprocess.run(
            [*COMMAND, "model", "list"], capture_output=True, text=True, check=False
        )
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("hint: its whole log is ")
