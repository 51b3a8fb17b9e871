"""What the bench must know of a server: how it is started, asked, and understood."""

from __future__ import annotations

import json
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from bench.runtime.client import PATIENCE, Wire, ask
from bench.runtime.environments import HERE, Unavailable, environment
from bench.runtime.processes import Family
from bench.runtime.workloads import Workload, models_folder

START_LIMIT = 90
"""Seconds to the first right answer."""
PROGRAMS = HERE / "programs"


class Kind(StrEnum):
    """What a server is compared as."""

    FLOOR = "floor"
    PRODUCT = "product"
    HAND = "hand-written"
    OURS = "ours"


@dataclass(frozen=True)
class Launch:
    """What a server is given for its start."""

    workload: Workload
    port: int
    folder: Path
    """Its working directory, private and empty."""


@dataclass(frozen=True)
class Server:
    """One program that answers."""

    name: str
    kind: Kind
    environment: str
    """Name of its list of requirements."""
    command: Callable[[Launch], list[str]]
    """Prepares the folder and returns the command; `python` and others are its environment's."""
    wire: Callable[[Workload], Wire]
    answer: Callable[[Any], Any] = lambda document: document
    """The numbers of an answer's JSON."""
    workloads: str = "W1 W2 W3 W4 W5"
    variables: Callable[[Launch], dict[str, str]] = lambda launch: {}
    inherits_listener: bool = False
    """It is given a listening socket at descriptor LISTENER instead of opening the port."""


class Running:
    """A started server that has given the right answer."""

    def __init__(self, server: Server, workload: Workload, port: int, family: Family) -> None:
        self.server = server
        self.port = port
        self.wire = server.wire(workload)
        self.family = family
        self.cold_start = 0.0
        """Seconds from its start to the first right answer."""
        self._workload = workload

    def check(self, *, busy: bool = False) -> None:
        """Ask once; a busy server gets the time that it has under load.

        Raises:
            Unavailable: The answer is wrong.
            OSError: There is none.
        """
        status, body = ask(self.port, self.wire, *([PATIENCE] if busy else []))
        if status != 200:
            raise Unavailable(f"answers {status}: {body[:300].decode(errors='replace')}")
        if not self._workload.is_right(self.server.answer(json.loads(body))):
            raise Unavailable(f"gives a wrong answer: {body[:200].decode(errors='replace')}")

    def wait(self, began: float) -> None:
        """Wait for the first right answer.

        Raises:
            Unavailable: It ended, answers wrongly, or took too long.
        """
        refused = "does not listen"
        while time.monotonic() - began < START_LIMIT:
            if self.family.ended():
                raise Unavailable("ended at its start")
            try:
                self.check()
            except (OSError, Unavailable) as error:
                refused = str(error)
                time.sleep(0.005)
            else:
                self.cold_start = time.monotonic() - began
                return
        raise Unavailable(f"gave no right answer in {START_LIMIT} s; the last: {refused}")


@contextmanager
def started(server: Server, workload: Workload) -> Iterator[Running]:
    """A running server; gone with all its processes at the end.

    Raises:
        Unavailable: It cannot be installed or started; with the end of its log.
    """
    environment(server.environment)  # installed before the clock runs
    with (
        tempfile.TemporaryDirectory(prefix="my-", ignore_cleanup_errors=True) as name,
        socket.socket() as listener,
    ):
        folder = Path(name)
        work = folder / "work"
        work.mkdir()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        launch = Launch(workload, listener.getsockname()[1], work)
        command = server.command(launch)
        if server.inherits_listener:
            listener.listen(1024)
            _hand_over(command, listener)
        else:
            listener.close()
        with (folder / "log").open("wb") as log:
            began = time.monotonic()
            variables = variables_of(server, launch)
            inherited = [listener] if server.inherits_listener else []
            family = Family(command, variables, work, log, inherited)
        try:
            running = Running(server, workload, launch.port, family)
            running.wait(began)
            yield running
        except Unavailable as error:
            raise Unavailable(f"{error}\n{_tail(folder / 'log')}") from None
        finally:
            family.end()


def _hand_over(command: list[str], listener: socket.socket) -> None:
    """Write the descriptor into the configuration, which only now is known."""
    path = Path(command[-1])
    document = json.loads(path.read_text()) | {"fd": listener.fileno()}
    path.write_text(json.dumps(document))


def variables_of(server: Server, launch: Launch) -> dict[str, str]:
    """The same for all, and its own: one thread a process for linear algebra, no calls home."""
    home = environment(server.environment)
    return {
        "PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(launch.folder),
        "TMPDIR": str(launch.folder),
        "PYTHONPATH": str(PROGRAMS),
        "BENCH_WORKLOAD": launch.workload.name,
        "BENCH_MODELS": str(models_folder()),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "DO_NOT_TRACK": "true",
        "BENTOML_DO_NOT_TRACK": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "RAY_USAGE_STATS_ENABLED": "0",
        **server.variables(launch),
    }


def _tail(log: Path) -> str:
    with suppress(OSError):
        return "\n".join(log.read_text(errors="replace").splitlines()[-40:])
    return ""
