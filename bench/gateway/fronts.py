"""What stands in front of the same replicas: our gateway here, HAProxy and Envoy in `peers`."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench._race import Racer, echo, free_port, running, wait_for
from bench.runtime.client import Wire
from bench.runtime.environments import Unavailable
from bench.runtime.measure import say
from modelyard.agent.gateway.config import GatewayConfig, Key, ServiceRoute, Upstream, write_config
from modelyard.domain.keys import make_key

KEY = make_key(b"m" * 32, "0123456789abcdef")
WIRE = Wire(
    "/services/digits/score",
    b'{"data": [[5.1, 3.5, 1.4, 0.2]]}',
    {
        "Content-Type": "application/json",
        "Authorization": f"Bearer {KEY.text}",
        "Accept": "*/*",
        "User-Agent": "python-requests/2.32",
    },
)
LIMIT = 64
"""Requests in flight at one replica."""


@dataclass(frozen=True)
class Front:
    """One way to stand in front of replicas."""

    name: str
    command: Callable[[Path, int, Sequence[str]], list[str]]
    """Writes what it needs into a folder; for a port, and the Unix sockets of the replicas."""


@contextmanager
def started(front: Front, replicas: Sequence[str], wire: Wire = WIRE) -> Iterator[Racer]:
    """A front that listens.

    Raises:
        Unavailable: It cannot be installed.
    """
    port = free_port()
    with (
        tempfile.TemporaryDirectory(prefix="my-") as name,
        running(front.command(Path(name), port, replicas)) as family,
    ):
        wait_for(port)
        yield Racer(front.name, port, wire, family)


def started_if_there(
    stack: ExitStack, fronts: Sequence[Front], replicas: Sequence[str], wire: Wire = WIRE
) -> list[Racer]:
    """Those of the fronts that can be installed; the others are named on standard error."""
    racers = []
    for front in fronts:
        try:
            racers.append(stack.enter_context(started(front, replicas, wire)))
        except Unavailable as error:
            say(f"{front.name} {error}")
    return racers


@contextmanager
def echoes(*milliseconds: float, size: int = 0) -> Iterator[list[str]]:
    """The Unix sockets of bare echoes, which take so long for each request: see `echo`."""
    with tempfile.TemporaryDirectory(prefix="my-") as name, ExitStack() as stack:
        sockets = [f"{name}/{number}.sock" for number in range(len(milliseconds))]
        for address, delay in zip(sockets, milliseconds, strict=True):
            stack.enter_context(running(echo(address, delay, size)))
        for address in sockets:
            wait_for(address)
        yield sockets


def route(replicas: Sequence[str], **changes: Any) -> ServiceRoute:
    """The service as our gateway knows it."""
    settings: dict[str, Any] = {
        "name": "digits",
        "auth": "key",
        "keys": (Key(KEY.id, "primary", KEY.hash),),
        "scoring_timeout": 60.0,
        "max_concurrent_requests": LIMIT,
        "max_queue_wait": 10.0,
        "upstreams": tuple(
            Upstream(address, "d", 100, f"r{number}") for number, address in enumerate(replicas)
        ),
    }
    return ServiceRoute(**settings | changes)


def gateway_command(folder: Path, port: int, processes: int = 1) -> list[str]:
    """Our gateway on the configuration that is in a folder; its peers have one thread each."""
    command = [sys.executable, "-m", "modelyard.agent.gateway", "--dir", str(folder)]
    return [*command, "--port", str(port), "--processes", str(processes)]


def ours(processes: int = 1, **changes: Any) -> Front:
    """Our gateway of so many processes, with changes to the service's route."""

    def command(folder: Path, port: int, replicas: Sequence[str]) -> list[str]:
        write_config(folder / "config.json", GatewayConfig(1, (route(replicas, **changes),)))
        return gateway_command(folder, port, processes)

    return Front("gateway" if processes == 1 else f"gateway, {processes} processes", command)


OURS = ours()
