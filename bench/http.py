"""CPU per request of the server core, beside a bare parser that echoes the same requests."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

from bench._race import Racer, echo, figure, free_port, race, ratio, running, wait_for
from bench.runtime.client import Wire

WIRE = Wire(
    "/score",
    b'{"data": [[5.1, 3.5, 1.4, 0.2]]}',
    {"Content-Type": "application/json", "Accept": "*/*", "User-Agent": "python-requests/2.32"},
)
CORE = """
import asyncio, gc, socket, sys, uvloop
from modelyard_runtime.http.server import JSON, Response, Server

def echo(request):
    return Response(200, request.body, [JSON])

async def main():
    await Server(echo).start(socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=1024))
    await asyncio.sleep(1e6)

gc.freeze()
uvloop.run(main())
"""


def run() -> Iterator[dict[str, Any]]:
    """The figures."""
    bare_port, core_port = free_port(), free_port()
    with ExitStack() as stack:
        bare = _start(stack, "bare parser", echo(bare_port), bare_port)
        core = [sys.executable, "-c", CORE, str(core_port)]
        ours = _start(stack, "server core", core, core_port)
        race([bare, ours])
    yield bare.cost()
    yield ours.cost()
    over = ratio(ours.costs, bare.costs)
    yield figure("server core, over a bare parser", over, "ratio", "<= 1.5")


def _start(stack: ExitStack, name: str, command: Sequence[str], port: int) -> Racer:
    family = stack.enter_context(running(command))
    wait_for(port)
    return Racer(name, port, WIRE, family)
