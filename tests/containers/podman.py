"""A container engine for tests: podman's service on a socket of its own, with storage of its own.

Debian's packages are installed by `scripts/debian_packages.sh`, which `make test` runs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.programs import unavailable

from modelyard.agent.engine.address import Address
from modelyard.agent.engine.client import Engine
from modelyard.agent.engine.problems import EngineProblem

# Files instead of what a machine has only once, so that engines do not disturb each other. The
# low limits and `cgroupfs` are what small virtual machines and containers of CI need.
_CONFIGURATION = """
[containers]
default_ulimits = ["nofile=16384:16384", "nproc=32768:32768"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
tmp_dir = "{folder}/tmp"
static_dir = "{folder}/static"
[network]
network_config_dir = "{folder}/networks"
"""
_STARTING = 30.0


class Podman:
    """One engine, started and ended as a test likes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "engine.sock"
        self.engine = Engine(Address(socket=str(self.socket)))
        self._configuration = folder / "containers.conf"
        self._configuration.write_text(_CONFIGURATION.format(folder=folder))
        self._service: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the service and wait until it answers."""
        self.socket.unlink(missing_ok=True)
        with (self.folder / "engine.log").open("ab") as log:
            self._service = subprocess.Popen(
                [*self._command(), "system", "service", "--time=0", f"unix://{self.socket}"],
                env={**os.environ, "CONTAINERS_CONF": str(self._configuration)},
                cwd=self.folder,  # where conmon leaves a file when a container is out of memory
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + _STARTING
        while not self._answers():
            if self._service.poll() is not None or time.monotonic() > deadline:
                text = (self.folder / "engine.log").read_text()
                raise AssertionError(f"podman's service does not start: {text}")
            time.sleep(0.05)

    def kill(self) -> None:
        """End the service as a crash would; containers live on."""
        if self._service is not None:
            self._service.kill()
            self._service.wait()

    def run(self, *arguments: str) -> str:
        """Run a command of podman on the same storage."""
        done = subprocess.run(
            [*self._command(), *arguments],
            env={**os.environ, "CONTAINERS_CONF": str(self._configuration)},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    def close(self) -> None:
        """End everything that runs, and unmount its storage."""
        self.run("rm", "--all", "--force", "--time", "0")
        self.kill()
        self.run("unmount", "--all")
        storage = self.folder / "root"
        # podman mounts this onto itself and leaves it so; what is mounted cannot be deleted.
        subprocess.run(["umount", storage / "overlay"], check=False, capture_output=True)
        shutil.rmtree(storage, ignore_errors=True)

    def _command(self) -> list[str]:
        storage = ["--root", str(self.folder / "root"), "--runroot", str(self.folder / "run")]
        return ["podman", *storage]

    def _answers(self) -> bool:
        try:
            self.engine.ping()
        except EngineProblem:
            return False
        return True


def why_not() -> str | None:
    """Why this machine cannot run containers for tests, in one line; None when it can."""
    if os.geteuid() != 0:
        return "the tests of containers start podman as root"
    if shutil.which("podman") is None or shutil.which("runc") is None:
        return "podman and runc are not installed: scripts/debian_packages.sh does it on Debian"
    return None


@contextmanager
def a_podman(folder: Path) -> Iterator[Podman]:
    """A running engine that leaves nothing behind."""
    reason = why_not()
    if reason is not None:
        unavailable(reason)
    podman = Podman(folder)
    podman.start()
    try:
        yield podman
    finally:
        podman.close()
