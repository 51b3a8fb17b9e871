"""A gateway as the agent starts it: a process of its own, known by its files."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
from tests.integration.gateway.kit import Client

from modelyard.agent.gateway.config import (
    Certificate,
    ClientFiles,
    GatewayConfig,
    ServiceRoute,
    write_config,
)
from modelyard.agent.gateway.status import GatewayStatus, read_status


class GatewayProcess:
    """Started on entering, ended on leaving."""

    def __init__(self, folder: Path, port: int = 0, processes: int = 2, *options: str) -> None:
        self.folder = folder
        self.port = port
        self._processes = processes
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._started: list[subprocess.Popen[bytes]] = []
        self._version = 0

    def __enter__(self) -> GatewayProcess:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self, *options: str) -> None:
        with (self.folder / "gateway.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    *("-m", "modelyard.agent.gateway"),
                    *("--dir", str(self.folder)),
                    *("--port", str(self.port), "--processes", str(self._processes)),
                    *self._options,
                    *options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        self._started.append(self._process)

    def replace(self) -> None:
        """Have another one take over; returns once the one before has left it to its processes."""
        before = self.process
        self.start("--replace")
        self.wait_for(lambda status: True)
        assert before.wait(30) == 0

    def refuse(self) -> int:
        """Start another one that cannot take over; its exit status."""
        serving = self.process
        self.start("--replace")
        refused, self._process = self.process, serving
        return refused.wait(30)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    @property
    def log(self) -> str:
        return (self.folder / "gateway.log").read_text()

    def configure(
        self,
        *services: ServiceRoute,
        certificate: Certificate | None = None,
        clients: ClientFiles | None = None,
    ) -> None:
        """Write a configuration and wait until it is served."""
        self._version += 1
        config = GatewayConfig(self._version, services, certificate, clients=clients)
        write_config(self.folder / "config.json", config)
        self.wait_for(lambda status: status.config_version == self._version)

    def wait_for(self, condition: Callable[[GatewayStatus], bool]) -> GatewayStatus:
        """The status of the running process, once it meets a condition."""
        while True:
            status = read_status(self.folder / "status.json")
            if status is not None and status.pid == self.process.pid and condition(status):
                return status
            assert self.process.poll() is None, self.log
            time.sleep(0.01)

    def url(self) -> str:
        url = self.wait_for(lambda status: status.url is not None).url
        assert url is not None
        return url

    def client(self) -> Client:
        host, port = self.url().removeprefix("http://").rsplit(":", 1)
        return Client((host, int(port)))

    def terminate(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def kill(self) -> None:
        """End all its processes at once."""
        everybody = psutil.process_iter(["cmdline"])
        own = [one for one in everybody if str(self.folder) in (one.info["cmdline"] or ())]
        for process in own:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        for started in self._started:
            started.wait()
        while any(lives(process.pid) for process in own):
            time.sleep(0.01)


def lives(pid: int) -> bool:
    """Whether a process has not ended, be it buried or not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
