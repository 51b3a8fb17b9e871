"""A real replica: its process, its listening socket, its status file."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.integration.runtime.wire import PATIENCE, Answer, ask, request

import modelyard_runtime

PACKAGES = [str(Path(modelyard_runtime.__file__).parents[1]), sysconfig.get_path("platlib")]
BASE_PYTHON: str = getattr(sys, "_base_executable", sys.executable)


class Replica:
    """Starts at `start`; whoever made it stops it."""

    def __init__(self, script: str, **settings: Any) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="my-"))
        code, models = self.folder / "code", self.folder / "models"
        code.mkdir()
        (models / "iris" / "1").mkdir(parents=True)
        (models / "iris" / "1" / "weights.txt").write_text("42")
        (code / "score.py").write_text(script)
        self.socket = str(self.folder / "s")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.socket)
        self.listener.listen(1024)
        self.inherited = [self.listener]
        self.config = {
            "fd": self.listener.fileno(),
            "workers": 2,
            "code": str(code),
            "script": "score.py",
            "models_root": str(models),
            "models": [{"name": "iris", "version": "1", "path": str(models / "iris" / "1")}],
            "status": str(self.folder / "status.json"),
            "service": "flowers",
            "scoring_timeout": 60.0,
            "max_body": 1 << 20,
            "drain_timeout": 20.0,
            **settings,
        }
        self.packages = PACKAGES
        self.environment = dict(os.environ)
        self.patience = PATIENCE
        self.log = self.folder / "log"
        self.process: subprocess.Popen[bytes]

    def start(self) -> None:
        config = self.folder / "replica.json"
        config.write_text(json.dumps(self.config))
        environment = {**self.environment, "PYTHONPATH": os.pathsep.join(self.packages)}
        command = [BASE_PYTHON, "-s", "-S", "-P", "-m", "modelyard_runtime"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--config", str(config)],
                cwd="/",
                env=environment,
                pass_fds=[inherited.fileno() for inherited in self.inherited],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)
        for inherited in self.inherited:
            inherited.close()
        shutil.rmtree(self.folder)

    @property
    def status(self) -> dict[str, Any]:
        with contextlib.suppress(FileNotFoundError):
            return dict(json.loads((self.folder / "status.json").read_text()))
        return {}

    @property
    def workers(self) -> list[int]:
        return list(self.status["workers"])

    def wait_for(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait until the status is as wanted, and return it."""
        deadline = time.monotonic() + self.patience
        while not condition(status := self.status):
            assert time.monotonic() < deadline, (status, self.log.read_text())
            time.sleep(0.01)
        return status

    def wait_until_ready(self) -> None:
        self.wait_for(lambda status: status.get("phase") in ("ready", "failed"))
        assert self.status["phase"] == "ready", (self.status, self.log.read_text())

    def score(self, body: Any = None, **headers: str) -> Answer:
        data = json.dumps(body).encode()
        return ask(self.socket, request("POST", "/score", data, headers, close=True))

    def get(self, path: str) -> Answer:
        return ask(self.socket, request("GET", path, close=True))


@contextlib.contextmanager
def replica(script: str, *, ready: bool = True, **settings: Any) -> Iterator[Replica]:
    """A started replica, ready unless told otherwise; gone with all its processes at the end."""
    running = Replica(script, **settings)
    running.start()
    try:
        if ready:
            running.wait_until_ready()
        yield running
    finally:
        running.stop()


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for yet does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"
