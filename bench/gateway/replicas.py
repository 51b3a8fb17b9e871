"""Real replicas, one process each, on a Unix socket and, for direct callers, on a port."""

from __future__ import annotations

import json
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench._race import Racer, running
from bench.runtime.client import Wire, ask
from bench.runtime.environments import Unavailable
from bench.runtime.servers import Launch, Server, variables_of
from bench.runtime.workloads import Workload

_BACKLOG = 1024
_START_LIMIT = 60.0


@dataclass(frozen=True)
class Replica:
    """One that is ready."""

    socket: str
    direct: Racer
    """Without a key: the gateway checks that."""


@contextmanager
def replicas(server: Server, workload: Workload, count: int) -> Iterator[list[Replica]]:
    """So many of them.

    Raises:
        Unavailable: One does not give the right answer.
    """
    with ExitStack() as stack:
        yield [stack.enter_context(_replica(server, workload)) for _ in range(count)]


@contextmanager
def _replica(server: Server, workload: Workload) -> Iterator[Replica]:
    with (
        tempfile.TemporaryDirectory(prefix="my-") as name,
        socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG) as tcp,
        socket.socket(socket.AF_UNIX) as unix,
    ):
        unix.bind(f"{name}/s")
        unix.listen(_BACKLOG)
        launch = Launch(workload, tcp.getsockname()[1], Path(name))
        command = server.command(launch)
        places = {"fd": unix.fileno(), "fds": [tcp.fileno()]}
        _change(Path(command[-1]), {"workers": 1, "keys": [], **places})
        with running(command, variables_of(server, launch), [tcp, unix]) as family:
            wire = server.wire(workload)
            racer = Racer("replica", launch.port, _without_key(wire), family)
            _wait(server, workload, racer)
            yield Replica(f"{name}/s", racer)


def _change(path: Path, settings: dict[str, object]) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def _without_key(wire: Wire) -> Wire:
    fields = {name: value for name, value in wire.headers.items() if name != "Authorization"}
    return Wire(wire.path, wire.body, fields)


def _wait(server: Server, workload: Workload, racer: Racer) -> None:
    give_up = time.monotonic() + _START_LIMIT
    body = b"nothing"
    while time.monotonic() < give_up and not racer.family.ended():
        try:
            status, body = ask(racer.port, racer.wire)
        except OSError as error:
            body = str(error).encode()
        else:
            if status == 200 and workload.is_right(server.answer(json.loads(body))):
                return
        time.sleep(0.05)
    raise Unavailable(f"{server.name} gave no right answer: {body[:200].decode(errors='replace')}")
