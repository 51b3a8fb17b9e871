"""Programs that answer HTTP, each in turn under the same load, and what a request costs them.

Rounds go from one program to the next and around, because machines are noisy, and ratios are
medians over rounds, of two programs in the same round.
"""

from __future__ import annotations

import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.runtime.client import Wire, load
from bench.runtime.processes import Family

CONNECTIONS = 64
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "2"))
_WARM_UP = 1.0
_START_LIMIT = 20.0
"""Seconds until a program listens."""


@dataclass
class Racer:
    """One program, and what its rounds showed."""

    name: str
    port: int
    wire: Wire
    family: Family
    costs: list[float] = field(default_factory=list)
    """Microseconds of CPU a request, in the kernel too."""
    rates: list[float] = field(default_factory=list)
    """Requests per second."""
    p99s: list[float] = field(default_factory=list)
    """Milliseconds."""

    def round(self, seconds: float, connections: int = CONNECTIONS) -> None:
        """Let clients ask for so long.

        Raises:
            RuntimeError: An answer is no success, or did not come.
        """
        before = self.family.cpu()
        seen = load(self.port, self.wire, connections, seconds)
        if seen.errors:
            raise RuntimeError(f"{self.name}: {seen.errors} of {seen.requests} requests failed")
        self.costs.append((self.family.cpu() - before) / max(1, seen.requests) * 1e6)
        self.rates.append(seen.requests / seen.seconds)
        self.p99s.append(seen.p99 * 1e3)

    def cost(self) -> dict[str, Any]:
        """The figure."""
        value = statistics.median(self.costs)
        return figure(f"{self.name}, CPU per request", value, "us")


def race(racers: Sequence[Racer]) -> None:
    """All their rounds, after a short one to warm up."""
    for racer in racers:
        load(racer.port, racer.wire, CONNECTIONS, _WARM_UP)
    for _ in range(ROUNDS):
        for racer in racers:
            racer.round(SECONDS)


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median over rounds."""
    return statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))


def figure(name: str, value: float, unit: str, goal: str = "") -> dict[str, Any]:
    """One line of a bench's output."""
    return {"figure": name, "value": value, "unit": unit, "goal": goal}


@contextmanager
def running(
    command: Sequence[str],
    variables: Mapping[str, str] | None = None,
    listeners: Sequence[socket.socket] = (),
) -> Iterator[Family]:
    """A program in a folder of its own, which inherits listeners; gone with all its processes."""
    with tempfile.TemporaryDirectory(prefix="my-", ignore_cleanup_errors=True) as name:
        folder = Path(name) / "work"
        folder.mkdir()
        with (Path(name) / "log").open("wb") as log:
            family = Family(command, variables or os.environ, folder, log, listeners)
        try:
            yield family
        except Exception as error:
            error.add_note(f"{command[0]} said: {(Path(name) / 'log').read_text()[-2000:]}")
            raise
        finally:
            family.end()


def echo(address: int | str, milliseconds: float = 0, size: int = 0) -> list[str]:
    """The command of a bare echo at a port or a Unix socket.

    Each request takes it so long, one after the other; what has no body gets so many bytes.
    """
    program = Path(__file__).parent / "_echo.py"
    return [sys.executable, "-P", str(program), str(address), str(milliseconds), str(size)]


def free_port() -> int:
    """A port that nobody has now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_for(address: int | str) -> None:
    """Until something listens at a port or a Unix socket.

    Raises:
        RuntimeError: Nothing does, after 20 s.
    """
    family = socket.AF_INET if isinstance(address, int) else socket.AF_UNIX
    place = ("127.0.0.1", address) if isinstance(address, int) else address
    give_up = time.monotonic() + _START_LIMIT
    while time.monotonic() < give_up:
        with socket.socket(family) as client, suppress(OSError):
            client.connect(place)
            return
        time.sleep(0.02)
    raise RuntimeError(f"nothing listens at {address}")
