"""The way of a request through a worker, without sockets: seconds for one, as a line of JSON.

`python path.py ours|captured|floor CONNECTIONS REPLICA_CONFIG`, with the variables of
`calls`. As many connections are given one request each in one turn of the event loop, again and
again; the fastest turn counts, which is the steadiest figure on a machine that does other things
too.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import uvloop

TURNS = 3000
CAPTURE = f"x-modelyard-capture: 0123456789abcdef;{1 << 30};drop_new"
PATIENCE = 10.0
"""Seconds until calls must have shown that they are fast enough for the event loop."""

Feed = Callable[[bytes], None]


class Transport:
    """Takes answers, and counts them."""

    def __init__(self) -> None:
        self.answers = 0

    def write(self, data: bytes) -> None:
        if not data.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(data.decode())
        self.answers += 1

    def get_extra_info(self, name: str) -> None:
        return None


async def turn(feeds: list[Feed], transports: list[Transport], request: bytes) -> float:
    """Seconds from the first request to the last answer."""
    wanted = transports[-1].answers + 1
    began = perf_counter()
    for feed in feeds:
        feed(request)
    while transports[-1].answers < wanted:
        await asyncio.sleep(0)
    return perf_counter() - began


async def fastest(feeds: list[Feed], transports: list[Transport], request: bytes) -> None:
    """Print the figure."""
    gc.freeze()
    seconds = min([await turn(feeds, transports, request) for _ in range(TURNS)])
    print(json.dumps(seconds / len(feeds)), flush=True)


def connect(protocols: list[Any]) -> tuple[list[Feed], list[Transport]]:
    """Transports for all, and what takes their bytes."""
    transports = [Transport() for _ in protocols]
    for protocol, transport in zip(protocols, transports, strict=True):
        protocol.connection_made(transport)
    return [protocol.data_received for protocol in protocols], transports


def request(body: bytes, *fields: str) -> bytes:
    """As clients send it."""
    lines = ["POST /score HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json", *fields]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


async def floor(connections: int, body: bytes) -> None:
    """The batched floor."""
    import floor as program

    program.loop = asyncio.get_running_loop()
    protocols = [program.BatchedConnection() for _ in range(connections)]
    await fastest(*connect(protocols), request(body))


def ours(connections: int, body: bytes, config_path: str, *, captured: bool) -> None:
    """A worker's own parts, made as it makes them, but for the listening socket."""
    from modelyard_runtime.auth import ServiceKey
    from modelyard_runtime.board import Board
    from modelyard_runtime.config import parse_config
    from modelyard_runtime.http.connection import Connection
    from modelyard_runtime.lanes.mainthread import MainThread
    from modelyard_runtime.loading import load
    from modelyard_runtime.scoring import Scorer
    from modelyard_runtime.slots import Slots
    from modelyard_runtime.worker import Worker

    key = ServiceKey("0123456789abcdef", "a" * 48)
    values = json.loads(Path(config_path).read_bytes())
    own = {"fd": 0, "keys": [{"id": key.id, "hash": key.hash}]}
    folder = {"capture": str(Path(config_path).with_name("captured"))} if captured else {}
    config = parse_config({**values, **own, **folder})
    entry = load(config, lambda phase: None)
    worker: Any = Worker(config, entry, Board(1), Slots(1), 0, None)  # type: ignore[arg-type]

    async def main() -> None:
        lane = worker._lane()
        worker._tracing = None  # as where nobody has traces sent
        worker._tracing = None  # as without an exporter
        handler = worker._routes(lane, Scorer(entry, print))
        server = worker._guarded(handler, worker._guard(), True)
        server.loop = asyncio.get_running_loop()
        server._tick()
        feeds, transports = connect([Connection(server) for _ in range(connections)])
        fields = [f"Authorization: Bearer {key.text}", "x-request-id: 0123456789abcdef"]
        asked = request(body, *fields, *([CAPTURE] if captured else []))
        end = perf_counter() + PATIENCE
        while not lane._is_here:
            if perf_counter() > end:
                raise RuntimeError("calls have not shown that they are fast")
            await turn(feeds, transports, asked)
        await fastest(feeds, transports, asked)
        lane.close()
        os._exit(0)  # whatever the main thread waits for

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        worker._main = MainThread(runner.get_loop())
        worker._main.run(main(), lambda: None)


def run(kind: str, connections: int, config: str) -> None:
    """Measure one."""
    case = Path(os.environ["BENCH_MODELS"]) / f"{os.environ['BENCH_WORKLOAD']}.json"
    body = json.dumps(json.loads(case.read_bytes())["rows"]).encode()
    if kind == "floor":
        uvloop.run(floor(connections, body))
    else:
        ours(connections, body, config, captured=kind == "captured")


if __name__ == "__main__":
    run(sys.argv[1], int(sys.argv[2]), sys.argv[3])
