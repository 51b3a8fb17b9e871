"""Parts of gateway tests: a client that follows HTTP/1.1 and no more, replicas, whole gateways."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import ssl
import struct
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from tests.integration.runtime.server import Computed

from modelyard.agent.gateway.config import (
    CaptureRoute,
    DeploymentRoute,
    GatewayConfig,
    Key,
    ServiceRoute,
    Upstream,
)
from modelyard.agent.gateway.counters import counters_in_memory
from modelyard.agent.gateway.handler import Gateway, serve
from modelyard.agent.gateway.loads import draining, loads
from modelyard.domain.keys import make_key
from modelyard_runtime.capture.spool import DROP_NEW
from modelyard_runtime.http.server import Limits, Request, Response, Server

KEY = make_key(b"m" * 32, "0123456789abcdef")
SECOND = make_key(b"m" * 32, "fedcba9876543210")
BEARER = {"authorization": f"Bearer {KEY.text}"}
PATH = "/services/digits/score"
ALL = CaptureRoute("the-service", 100, 1 << 30, DROP_NEW)
"""Every request is recorded."""

ROUTE = ServiceRoute(
    name="digits",
    auth="key",
    keys=(Key(KEY.id, "primary", KEY.hash), Key(SECOND.id, "secondary", SECOND.hash)),
    scoring_timeout=10.0,
    max_concurrent_requests=16,
    max_queue_wait=10.0,
    upstreams=(),
)


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One connection, kept alive as long as the server lets it; opens a new one after that."""

    def __init__(self, address: tuple[str, int], secure: ssl.SSLContext | None = None) -> None:
        self._address = address
        self._secure = secure
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def request(
        self,
        path: str,
        body: bytes = b"",
        *,
        method: str = "POST",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        fields = {"host": "test", **(BEARER if headers is None else headers)}
        if body or method == "POST":
            fields["content-length"] = str(len(body))
        lines = [f"{method} {path} HTTP/1.1", *(f"{n}: {v}" for n, v in fields.items()), "", ""]
        return await self.raw("\r\n".join(lines).encode() + body, bodyless=method == "HEAD")

    async def raw(self, data: bytes, *, bodyless: bool = False) -> Answer:
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._address, ssl=self._secure)
        reader, writer = self._streams
        writer.write(data)
        try:
            answer = await _read_answer(reader, bodyless)
        except BaseException:
            self.close()
            raise
        if answer.headers.get("connection") == "close":
            self.close()
        return answer

    @property
    def port(self) -> int:
        """Its own, of the connection that it has."""
        assert self._streams is not None
        return int(self._streams[1].get_extra_info("sockname")[1])

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    def vanish(self) -> None:
        """End the connection as a killed client's host does: with a reset."""
        assert self._streams is not None
        transport = self._streams[1].transport
        transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        transport.abort()


async def _read_answer(reader: asyncio.StreamReader, bodyless: bool) -> Answer:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in head[1:-2])
    if headers.get("transfer-encoding") == "chunked" and not bodyless:
        parts = [part async for part in chunks(reader)]
        return Answer(int(head[0].split()[1]), headers, b"".join(parts))
    length = 0 if bodyless else int(headers.get("content-length", "0"))
    return Answer(int(head[0].split()[1]), headers, await reader.readexactly(length))


async def chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The parts of a body, as they come."""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        yield (await reader.readexactly(size + 2))[:-2]
    await reader.readexactly(2)


Handler = Callable[[Request], Awaitable[Response]]


class Replica:
    """A replica that is served by the runtime's own server core, as real ones are."""

    def __init__(
        self,
        folder: Path,
        name: str,
        handler: Handler | None = None,
        deployment: str = "deployment-a",
        weight: int = 100,
    ) -> None:
        self.upstream = Upstream(str(folder / f"{name}.sock"), deployment, weight, name)
        self.requests: list[Request] = []
        self.running = self.most_running = 0
        self._handler = handler or self._echo
        self._socket: socket.socket | None = None
        self._server: Server | None = None

    async def start(self) -> None:
        path = Path(self.upstream.socket)
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen(1000)
        self._server = Server(self._handle, Limits())
        await self._server.start(self._socket)

    @property
    def connections(self) -> int:
        assert self._server is not None
        return self._server.connections

    async def stop(self, seconds: float = 5.0) -> None:
        """End as a draining runtime does."""
        server, listener, self._server, self._socket = self._server, self._socket, None, None
        if server is not None and listener is not None:
            draining = asyncio.ensure_future(server.drain(seconds))
            await asyncio.sleep(0)
            listener.close()
            await draining

    def _handle(self, request: Request) -> Computed:
        return Computed(self._answer(request))

    async def _answer(self, request: Request) -> Response:
        self.requests.append(request)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            return await self._handler(request)
        finally:
            self.running -= 1

    async def _echo(self, request: Request) -> Response:
        return Response(
            200, request.body, [(b"content-type", b"text/plain"), (b"x-replica", self._name)]
        )

    @property
    def _name(self) -> bytes:
        return self.upstream.replica.encode()


class Held:
    """A handler whose requests wait until they are let go."""

    def __init__(self) -> None:
        self.waiting: list[asyncio.Future[None]] = []

    async def __call__(self, request: Request) -> Response:
        future = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        await future
        return Response(200, request.body)

    async def until(self, count: int) -> None:
        await until(lambda: len(self.waiting) >= count)

    def release(self, count: int = 1_000_000) -> None:
        for future in self.waiting[:count]:
            if not future.done():
                future.set_result(None)
        del self.waiting[:count]


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that other tasks bring about; the test's own timeout bounds it."""
    while not condition():
        await asyncio.sleep(0.005)


class Serving:
    """A gateway in this process, on a free port."""

    def __init__(self, *services: ServiceRoute, captured: Path | None = None) -> None:
        self.gateway = Gateway(counters_in_memory(), captured=captured)
        self._config = GatewayConfig(1, services)
        self.gateway.apply(self._config)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1000)
        self.address: tuple[str, int] = self._listener.getsockname()
        self._server = serve(self.gateway, Limits())
        self._clients: list[Client] = []

    async def __aenter__(self) -> Serving:
        await self._server.start(self._listener)
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self._clients:
            client.close()
        await self._server.drain(0)
        self._listener.close()
        self.gateway.apply(GatewayConfig(0))  # closes the connections to replicas

    def client(self) -> Client:
        self._clients.append(Client(self.address))
        return self._clients[-1]

    def change(self, *services: ServiceRoute) -> None:
        self._config = GatewayConfig(self.gateway.config_version + 1, services)
        self.gateway.apply(self._config)

    def loads(self) -> dict[str, int]:
        return loads(self.gateway.seat.board, self._config)

    def draining(self) -> dict[str, int]:
        return draining(self.gateway.seat.board, self._config)


class HasUpstream(Protocol):
    @property
    def upstream(self) -> Upstream: ...


def route(*replicas: HasUpstream, **changes: Any) -> ServiceRoute:
    """The service `digits` on these replicas."""
    return replace(ROUTE, upstreams=tuple(r.upstream for r in replicas), **changes)


def split(*replicas: Replica, **changes: Any) -> ServiceRoute:
    """The service `digits`, with a deployment for each of those that replicas belong to."""
    weights = {r.upstream.deployment: r.upstream.weight for r in replicas}
    deployments = tuple(DeploymentRoute(d, f"{d}:1", weight) for d, weight in weights.items())
    return route(*replicas, deployments=deployments, **changes)


class Stage:
    """Makes replicas, and ends them after the test."""

    def __init__(self) -> None:
        # A short path, because that of a Unix socket is limited.
        self.folder = Path(tempfile.mkdtemp(prefix="gw-"))
        self._replicas: list[Replica] = []

    async def __aenter__(self) -> Stage:
        return self

    async def __aexit__(self, *_: object) -> None:
        for replica in self._replicas:
            await replica.stop(0)
        shutil.rmtree(self.folder)

    async def replica(
        self,
        name: str,
        handler: Handler | None = None,
        *,
        deployment: str = "deployment-a",
        weight: int = 100,
    ) -> Replica:
        self._replicas.append(
            Replica(self.folder, name, handler, deployment=deployment, weight=weight)
        )
        await self._replicas[-1].start()
        return self._replicas[-1]
