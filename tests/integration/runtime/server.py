"""The server core in a thread of the test, on a Unix socket, with a handler for tests."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator

import uvloop

from modelyard_runtime.http.server import (
    Handler,
    Head,
    HttpError,
    Limits,
    Peer,
    Reply,
    Request,
    Response,
    Server,
    Share,
    Tls,
)


class Computed(Reply):
    """The answer of a coroutine, which is cancelled when the client has gone."""

    def __init__(self, answering: Awaitable[Response]) -> None:
        super().__init__()
        self._answering = asyncio.ensure_future(answering)
        self._answering.add_done_callback(self._done)

    def abandon(self) -> None:
        self._answering.cancel()

    def _done(self, answering: asyncio.Future[Response]) -> None:
        if not answering.cancelled():
            error = answering.exception()
            assert error is None, error
            self.send(answering.result())


def computed(handler: Callable[[Request], Awaitable[Response]]) -> Handler:
    """A coroutine function as a handler."""
    return lambda request: Computed(handler(request))


class Running:
    """A running server: `path` of its socket, and its event loop for tests that reach inside."""

    def __init__(self, server: Server, tls: Tls | None = None, *, tcp: bool = False) -> None:
        self.folder = tempfile.mkdtemp(prefix="my-")
        self.path = f"{self.folder}/s"
        if tcp:
            self.listener = socket.create_server(("127.0.0.1", 0))
        else:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(self.path)
            self.listener.listen(1024)
        self.server = server
        self._tls = tls
        self.loop: asyncio.AbstractEventLoop
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: uvloop.run(self._serve()))

    def start(self) -> None:
        self._thread.start()
        assert self._started.wait(20)

    def drain(self, deadline: float) -> None:
        asyncio.run_coroutine_threadsafe(self.server.drain(deadline), self.loop).result(60)

    def stop(self) -> None:
        if not self.server.draining:
            self.drain(0)
        self.loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(20)
        self.listener.close()
        shutil.rmtree(self.folder)

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        await self.server.start(self.listener, self._tls)
        self._started.set()
        await self._ended.wait()


@contextlib.contextmanager
def serving(
    handler: Handler,
    limits: Limits | None = None,
    admit: Callable[[Head, Peer | None], Response | None] | None = None,
    wants_stream: Callable[[Head], bool] | None = None,
    tls: Tls | None = None,
    *,
    tcp: bool = False,
    share: Share | None = None,
) -> Iterator[Running]:
    server = Server(handler, limits, admit, wants_stream, share=share)
    running = Running(server, tls, tcp=tcp)
    running.start()
    try:
        yield running
    finally:
        running.stop()


def echo(request: Request) -> Response | Reply:
    """Answers with the request; some paths misbehave."""
    match request.path:
        case "/slow":
            return Computed(_slowly(request))
        case "/refuse":
            raise HttpError(418, "teapot")
        case "/raise":
            raise RuntimeError("secret")
        case "/forge":
            return Response(200, b"", [(b"x", b"1\r\nset-cookie: 2")])
        case "/large":
            return Response(200, b"x" * (8 << 20))
        case "/nothing":
            return Response(204)
    return _line(request)


async def _slowly(request: Request) -> Response:
    await asyncio.sleep(0.2)
    return _line(request)


def _line(request: Request) -> Response:
    text = f"{request.method} {request.path} {request.query} {len(request.body)}"
    return Response(200, text.encode(), [(b"content-type", b"text/plain")])
