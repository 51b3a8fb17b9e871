"""The one HTTP/1.1 server core: strict parsing, limits, keep-alive, back-pressure, graceful drain.

The workers of a replica and the gateway both serve with it. It knows requests and answers, not
paths: routing belongs to the handler. The rules are those of RFC 9112 read strictly, because a
request that two parsers read differently is how one is smuggled past the other.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from socket import socket
from typing import Any, Protocol

from modelyard_runtime.http.connection import Connection
from modelyard_runtime.http.encoding import date_field
from modelyard_runtime.http.messages import (
    JSON,
    Head,
    Headers,
    HttpError,
    Limits,
    Peer,
    Reply,
    Request,
    Response,
    error_response,
)
from modelyard_runtime.http.reader import Rules
from modelyard_runtime.http.tls import Tls

__all__ = [
    "JSON",
    "Handler",
    "Head",
    "Headers",
    "HttpError",
    "Limits",
    "Peer",
    "Reply",
    "Request",
    "Response",
    "Server",
    "Tls",
    "error_response",
]

Handler = Callable[[Request], Response | Reply]
"""Answers one request: at once with a `Response`, or later through a `Reply`, of whatever subclass.

It may raise `HttpError`; anything else it raises is logged and answered with 500. A `Reply` is
abandoned when the connection breaks, though not by a client that only ends its side.
"""

_log = logging.getLogger("modelyard.http")

_IDLE_GRACE = 0.5
"""Seconds at a drain that an idle connection gets, because its next request may be on its way."""
_WAY = 0.002
"""Seconds that a connection is left to another process that has fewer."""
_PARTING = 1.0
"""Seconds that a TLS client gets to agree to the end of a connection."""


class Share(Protocol):
    """How many connections this process has, beside others that accept from the same socket."""

    def add(self, change: int) -> None:
        """There are so many more, or fewer."""

    def is_exceeded(self) -> bool:
        """Whether another process ought to have the next."""


class Server:
    """Answers every connection of a listening socket with one handler.

    One server belongs to one running event loop. The socket stays the caller's: several processes
    may accept from the same one, and a drain leaves it open.

    Args:
        handler: Answers.
        limits: What is taken from a client.
        admit: Is shown the head of a request before its body is read, and who has sent it if a
            certificate tells, and may answer instead of the handler, with a whole body. Bodies of
            up to 16 KiB are read nevertheless, so that the connection can stay; after longer ones
            it is closed. It may be asked more than once about a request.
        wants_stream: Whether the body is to be streamed, so that the handler is called as soon as
            the headers are there. It must go by the head alone.
        inflates: Bodies that came in gzip or deflate are inflated; otherwise they are passed on as
            they are, of whatever coding.
        share: What this process ought to have of the connections, where others accept from the same
            socket.
    """

    def __init__(
        self,
        handler: Handler,
        limits: Limits | None = None,
        admit: Callable[[Head, Peer | None], Response | None] | None = None,
        wants_stream: Callable[[Head], bool] | None = None,
        *,
        inflates: bool = True,
        share: Share | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.rules = Rules(self.limits, admit, wants_stream, inflates)
        self.answer: Handler = handler if admit is None else _admitting(admit, handler)
        self.draining = False
        self.date = b""
        self.idle_until = 0.0
        self.loop: asyncio.AbstractEventLoop
        self._socket: socket | None = None
        self.tls: Tls | None = None
        """What the next connection begins with; None: plain HTTP."""
        self._accepting = False
        self._share = share
        self._has_deferred = False
        self._connections: set[Connection] = set()
        self._adopting: set[asyncio.Task[Any]] = set()
        self._tick_handle: asyncio.TimerHandle | None = None
        self._empty: asyncio.Future[None] | None = None

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    async def start(self, sock: socket, tls: Tls | None = None) -> None:
        """Begin to accept from a bound, listening stream socket (TCP or Unix)."""
        self.loop = asyncio.get_running_loop()
        sock.setblocking(False)
        self._socket = sock
        self.tls = tls
        self._tick()
        self._accept_again()

    async def drain(self, deadline_seconds: float, idle_seconds: float = _IDLE_GRACE) -> None:
        """Stop accepting, finish what is in flight, close; what is left at the deadline is cut.

        A connection without a request has `idle_seconds` for its next one, whose answer says that
        it is the last, but no more than half of the deadline.
        """
        self.draining = True
        self._stop_accepting()
        began = self.loop.time()
        grace = min(idle_seconds, deadline_seconds / 2)
        self.expire_idle(grace)
        if self._adopting:
            _, in_handshake = await asyncio.wait(self._adopting, timeout=grace)
            for adopting in in_handshake:
                adopting.cancel()
        if self._connections:
            self._empty = self.loop.create_future()
            remaining = began + deadline_seconds - self.loop.time()
            await asyncio.wait([self._empty], timeout=max(remaining, 0))
        for connection in list(self._connections):
            connection.abort()
        if self._tick_handle is not None:
            self._tick_handle.cancel()

    def expire_idle(self, seconds: float) -> None:
        """Close the connections that have no request until then; `drain` calls this, too."""
        for connection in list(self._connections):
            connection.expire_when_idle(self.loop.time() + seconds)

    def opened(self, connection: Connection) -> None:
        """A connection begins; called by itself."""
        self._connections.add(connection)
        if self.draining:
            connection.expire_when_idle(self.loop.time() + _IDLE_GRACE)

    def closed(self, connection: Connection) -> None:
        """A connection has ended; called by itself."""
        self._connections.discard(connection)
        if self._share is not None:
            self._share.add(-1)
        if self.draining:
            if not self._connections and self._empty is not None and not self._empty.done():
                self._empty.set_result(None)
        elif not self._accepting and len(self._connections) < self.limits.connections:
            self._accept_again()

    def _accept_again(self) -> None:
        if self._socket is not None and not self._accepting and not self.draining:
            self._accepting = True
            self.loop.add_reader(self._socket, self._accept)

    def _stop_accepting(self) -> None:
        if self._socket is not None and self._accepting:
            self._accepting = False
            self.loop.remove_reader(self._socket)

    def _accept(self) -> None:
        """Take the connections that there are, up to a fair share; where none is known, one a turn.

        Where each turn scores for long, some clients would else wait for many.
        """
        if self._defers():
            return
        while self._accept_one() and self._share and not self._share.is_exceeded():
            pass

    def _accept_one(self) -> bool:
        """Whether there may be one more to accept."""
        assert self._socket is not None
        try:
            client, _ = self._socket.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False  # another worker was faster, or the client has gone
        except OSError as error:  # out of descriptors or memory: spinning would not help
            _log.error("cannot accept a connection, trying again in 1 s: %s", error)
            self._stop_accepting()
            self.loop.call_later(1.0, self._accept_again)
            return False
        if self._share is not None:
            self._share.add(1)
        client.setblocking(False)
        adopting = self.loop.create_task(self._adopt(client))
        self._adopting.add(adopting)
        adopting.add_done_callback(self._adopted)
        if len(self._connections) + len(self._adopting) >= self.limits.connections:
            self._stop_accepting()
        return self._accepting

    def _defers(self) -> bool:
        """Leave a connection to another process that has fewer; yet take it if none else does."""
        if self._has_deferred or self._share is None or not self._share.is_exceeded():
            self._has_deferred = False
            return False
        self._has_deferred = True
        self._stop_accepting()
        self.loop.call_later(_WAY, self._accept_again)
        return True

    async def _adopt(self, client: socket) -> None:
        if self.tls is None:
            await self.loop.connect_accepted_socket(lambda: Connection(self), client)
        else:
            await self.loop.connect_accepted_socket(
                lambda: Connection(self),
                client,
                ssl=self.tls.context,
                ssl_handshake_timeout=self.limits.handshake_time,
                ssl_shutdown_timeout=_PARTING,
            )

    def _adopted(self, adopting: asyncio.Task[None]) -> None:
        self._adopting.discard(adopting)
        if not adopting.cancelled() and adopting.exception() is not None:
            _log.info("a connection failed at its start: %s", adopting.exception())
            if self._share is not None:
                self._share.add(-1)
            self._accept_again()

    def _tick(self) -> None:
        """Renew the date and enforce deadlines; cheaper than a timer for every connection."""
        interval = self._tick_interval()
        now = self.loop.time()
        self.date = date_field(time.time())
        self.idle_until = now + self.limits.idle_time + interval
        if self.tls is not None:
            self.tls.refresh(now)
        self.rules.rooms.tidy()
        for connection in list(self._connections):
            connection.enforce(now)
        self._tick_handle = self.loop.call_later(interval, self._tick)

    def _tick_interval(self) -> float:
        limits = self.limits
        times = (limits.header_time, limits.body_time, limits.idle_time, limits.stall_time)
        return min(0.25 if self.draining else 1.0, max(min(times) / 4, 0.01))


def _admitting(admit: Callable[[Head, Peer | None], Response | None], handler: Handler) -> Handler:
    def answer(request: Request) -> Response | Reply:
        return admit(request.head, request.peer) or handler(request)

    return answer
