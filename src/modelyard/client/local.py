"""Finds the server of this machine, or starts it in the background.

The server holds a lock on its home folder, so there is never more than one. Clients that start at
the same time queue on a lock of their own: the first one starts the server, the others find it.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import httpx2
from pydantic import ValidationError

from modelyard.client.connection import Address, tls
from modelyard.domain.values import Value
from modelyard.errors import ServerUnreachable, Unauthenticated
from modelyard.pinning import Pin

START_TIMEOUT = 60.0
"""Seconds until a server that was started must answer."""
_GRACE = 2.0
"""Seconds to wait for another server when ours ended because that one was faster."""
_STEP = 0.05
_LOG_LINES = 20


class RunningServer(Value):
    """What a server writes about itself to `server.json`."""

    url: str
    pid: int
    certificate: Path | None = None
    """PEM file with its certificate; None: it speaks plain HTTP."""


class Process(Protocol):
    """The part of `subprocess.Popen` that a start needs."""

    def poll(self) -> int | None:
        """The exit status, or None while it runs."""


class LocalServer:
    """The server of one home folder.

    Args:
        home: Folder that holds everything of it.
        wheels: Folder of wheels that a started server is given.
        spawn: Starts the server; replaced in tests.
        answers: Whether a server answers where it says; replaced in tests.
        sleep: Waits; replaced in tests.
    """

    def __init__(
        self,
        home: Path,
        wheels: Path | None = None,
        *,
        spawn: Callable[[list[str], dict[str, str], Path], Process] | None = None,
        answers: Callable[[RunningServer], bool] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.home = home.absolute()
        self._wheels = wheels
        self._spawn = spawn or _spawn
        self._answers = answers or _answers
        self._sleep = sleep

    @property
    def log(self) -> Path:
        """What the server writes about itself."""
        return self.home / "server.log"

    def find(self) -> Address | None:
        """Where the server is, or None when none answers."""
        running = self.running()
        if running is None or not self._answers(running):
            return None
        return Address(running.url, self._token(), running.certificate)

    def running(self) -> RunningServer | None:
        """What `server.json` says, if the process in it is there."""
        try:
            text = (self.home / "server.json").read_bytes()
            running = RunningServer.model_validate_json(text)
        except (OSError, ValidationError):
            return None
        return running if _is_alive(running.pid) else None

    def ensure_running(self) -> Address:
        """Where the server is; started in the background when there is none.

        Raises:
            ServerUnreachable: It ended while starting, or does not answer in time.
        """
        found = self.find()
        if found is not None:
            return found
        steps = int(START_TIMEOUT / _STEP)
        try:
            self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._start_lock(steps):
                return self.find() or self._start(steps)
        except OSError as error:
            raise ServerUnreachable(
                f"the local server cannot be started with {self.home}: {error.strerror}",
                hint="set MODELYARD_HOME to a folder that you may write",
            ) from error

    def wait_until_stopped(self, pid: int, timeout: float) -> bool:
        """Wait until the process of the server is gone; False when the time was not enough."""
        for _ in range(int(timeout / _STEP)):
            if not _is_alive(pid):
                return True
            self._sleep(_STEP)
        return False

    def command(self) -> list[str]:
        """The server in the foreground; `-P` keeps the current folder off its import path."""
        return [sys.executable, "-P", "-m", "modelyard.app"]

    def environment(self) -> dict[str, str]:
        """Variables for the server, which runs in another folder than the caller."""
        variables = {**os.environ, "MODELYARD_HOME": str(self.home)}
        if self._wheels is not None:
            variables["MODELYARD_WHEELS"] = str(self._wheels.absolute())
        return variables

    def _start(self, steps: int) -> Address:
        begin = self.log.stat().st_size if self.log.exists() else 0
        process = self._spawn(self.command(), self.environment(), self.log)
        for _ in range(steps):
            found = self.find()
            if found is not None:
                return found
            status = process.poll()
            if status is not None:
                return self._other_server() or self._failed(
                    f"ended while starting (exit status {status})", begin
                )
            self._sleep(_STEP)
        return self._failed(f"does not answer {START_TIMEOUT:.0f} seconds after its start", begin)

    def _other_server(self) -> Address | None:
        """The server that holds the home folder since before ours tried to."""
        for _ in range(int(_GRACE / _STEP)):
            found = self.find()
            if found is not None:
                return found
            self._sleep(_STEP)
        return None

    def _failed(self, what: str, begin: int) -> Address:
        lines = _last_lines(self.log, begin)
        said = "; its last lines:\n  " + "\n  ".join(lines) if lines else "; it wrote nothing"
        raise ServerUnreachable(
            f"the local server {what}{said}",
            hint=f"its whole log is {self.log}; `modelyard server start --foreground` shows what "
            "happens",
            details={"log": lines},
        )

    @contextmanager
    def _start_lock(self, steps: int) -> Iterator[None]:
        with (self.home / "start.lock").open("a") as file:
            for _ in range(steps):
                with suppress(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                self._sleep(_STEP)
            else:
                raise ServerUnreachable(
                    f"another command is still starting the server of {self.home}",
                    hint=f"see {self.log}, then try again",
                )
            yield

    def _token(self) -> str:
        path = self.home / "token"
        try:
            return path.read_text().strip()
        except OSError as error:
            raise Unauthenticated(
                f"cannot read the token of the local server, {path}: {error.strerror}",
                hint="it belongs to the person who started the server; set MODELYARD_URL and "
                "MODELYARD_TOKEN to use a server of somebody else",
            ) from error


def _spawn(command: list[str], environment: dict[str, str], log: Path) -> Process:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            cwd=log.parent,
            env=environment,
            start_new_session=True,  # it outlives this process and its terminal
        )
    finally:
        os.close(descriptor)
    # A program that runs for long collects the server's exit status, whenever that comes.
    threading.Thread(target=process.wait, name="server-exit", daemon=True).start()
    return process


def _answers(running: RunningServer) -> bool:
    url, certificate = running.url, running.certificate
    try:
        verify = Pin(certificate).context if certificate else tls(url)
        with httpx2.Client(trust_env=False, timeout=5.0, verify=verify) as client:
            return client.get(f"{url}/livez").status_code == 200
    except (httpx2.HTTPError, OSError):
        return False


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _last_lines(log: Path, begin: int) -> list[str]:
    """The last lines that were written since `begin`, a position in the file."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(begin, size - 20_000))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return text.splitlines()[-_LOG_LINES:]
