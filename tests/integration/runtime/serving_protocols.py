"""HTTP and gRPC over an entry, in a thread of the test: what a worker serves, without its lanes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvloop
from tests.contracts.protocols.inline import Inline, routes_of

from modelyard_runtime.auth import Guard
from modelyard_runtime.config import Config, Model
from modelyard_runtime.entry import Entry
from modelyard_runtime.grpc_server import GrpcServer, serve
from modelyard_runtime.http.server import Server
from modelyard_runtime.protocols import inference, mlflow, score
from modelyard_runtime.routes import Routes
from modelyard_runtime.scoring import Scorer


def configuration(folder: Path, **settings: Any) -> Config:
    values: dict[str, Any] = {
        "fd": 0,
        "workers": 1,
        "code": str(folder),
        "script": "score.py",
        "models_root": str(folder),
        "models": (Model("iris", "1", str(folder)),),
        "status": str(folder / "status.json"),
        "service": "flowers",
        "scoring_timeout": 20.0,
        "max_body": 4 << 20,
        "drain_timeout": 5.0,
    }
    return Config(**values | settings)


class Serving:
    """`http` and `grpc` are addresses; `unready` may be set to a reason."""

    def __init__(self, entry: Entry, config: Config, hashes: dict[str, str]) -> None:
        self._entry = entry
        self._guard = Guard(hashes, lambda: None) if hashes else None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._holder = socket.socket()
        self._holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._holder.bind(("127.0.0.1", 0))
        fields = {name: getattr(config, name) for name in config.__dataclass_fields__}
        self._config = Config(**fields | {"grpc_fd": self._holder.fileno()})
        self.http = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.grpc = f"127.0.0.1:{self._holder.getsockname()[1]}"
        self.unready = ""
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: uvloop.run(self._serve()))

    def start(self) -> None:
        self._thread.start()
        assert self._started.wait(20)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(20)
        assert not self._thread.is_alive()
        self._listener.close()
        self._holder.close()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        admit = self._guard.admit if self._guard is not None else None
        limits = self._config.http_limits(strangers=True)
        server = Server(self._routes(), limits, admit)
        grpc = self._grpc()
        await server.start(self._listener)
        await grpc.start()
        self._started.set()
        await self._ended.wait()
        await asyncio.gather(server.drain(1), grpc.drain(1))

    def _routes(self) -> Routes:
        surfaces = [
            protocol.routes(self._entry, self._config, self._why_unready)
            for protocol in (score, inference, mlflow)
        ]
        return routes_of(self._entry, self._config, surfaces, self._why_unready)

    def _grpc(self) -> GrpcServer:
        lane: Any = Inline()
        scorer = Scorer(self._entry, lambda cause: None)
        return serve(self._entry, self._config, scorer, lane, self._guard, self._why_unready)

    def _why_unready(self) -> str:
        return self.unready


@contextlib.contextmanager
def serving(
    entry: Entry, folder: Path, hashes: dict[str, str] | None = None, **settings: Any
) -> Iterator[Serving]:
    running = Serving(entry, configuration(folder, **settings), hashes or {})
    running.start()
    try:
        yield running
    finally:
        running.stop()
