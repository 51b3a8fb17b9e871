"""The one HTTP/1.1 server core: strict parsing, limits, keep-alive, back-pressure, graceful drain.

The workers of a replica and the gateway both serve with it. It knows requests and answers, not
paths: routing belongs to the handler. The rules are those of RFC 9112 read strictly, because a
request that two parsers read differently is how one is smuggled past the other.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from socket import socket
from typing import Any, cast

from modelyard_runtime.messages import (
    JSON,
    Headers,
    HttpError,
    Limits,
    Refused,
    Reply,
    Request,
    Response,
    date_field,
    encode_head,
    error_response,
)
from modelyard_runtime.reader import IDLE, RequestReader

__all__ = [
    "JSON",
    "Handler",
    "Headers",
    "HttpError",
    "Limits",
    "Reply",
    "Request",
    "Response",
    "Server",
    "error_response",
]

Handler = Callable[[Request], Response | Reply]
"""Answers one request: at once with a `Response`, or later through a `Reply`, of whatever subclass.

It may raise `HttpError`; anything else it raises is logged and answered with 500. A `Reply` is
abandoned when the connection breaks, though not by a client that only ends its side.
"""

_log = logging.getLogger("modelyard.http")

_SLICE = 16 << 10
"""Most bytes parsed before the requests in them are answered, so that pipelining stays bounded."""
_LINGER, _LONGEST_LINGER = 1.0, 30.0
"""Seconds to read and throw away what a refused client still sends, since its last byte and in all:
closing at once would reset the connection, and the client would never see the answer."""
_IDLE_GRACE = 0.5
"""Seconds at a drain that an idle connection gets, because its next request may be on its way."""
_NEVER = float("inf")
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_UNEXPECTED = "An unexpected error occurred. The log has the details."
_ANSWERING = 3
"""What a connection's deadline is for, besides the phases of its reader: there is none."""


class Server:
    """Answers every connection of a listening socket with one handler.

    One server belongs to one running event loop. The socket stays the caller's: several processes
    may accept from the same one, and a drain leaves it open.
    """

    def __init__(self, handler: Handler, limits: Limits | None = None) -> None:
        self.handler = handler
        self.limits = limits or Limits()
        self.draining = False
        self.date = b""
        self.loop: asyncio.AbstractEventLoop
        self._socket: socket | None = None
        self._accepting = False
        self._connections: set[_Connection] = set()
        self._adopting: set[asyncio.Task[Any]] = set()
        self._tick_handle: asyncio.TimerHandle | None = None
        self._empty: asyncio.Future[None] | None = None

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    async def start(self, sock: socket) -> None:
        """Begin to accept from a bound, listening stream socket (TCP or Unix)."""
        self.loop = asyncio.get_running_loop()
        sock.setblocking(False)
        self._socket = sock
        self._tick()
        self._accept_again()

    async def drain(self, deadline_seconds: float) -> None:
        """Stop accepting, finish what is in flight, close; what is left at the deadline is cut."""
        self.draining = True
        self._stop_accepting()
        began = self.loop.time()
        for connection in list(self._connections):
            connection.expire_when_idle(began + min(_IDLE_GRACE, deadline_seconds / 2))
        if self._adopting:
            await asyncio.wait(self._adopting)
        if self._connections:
            self._empty = self.loop.create_future()
            remaining = began + deadline_seconds - self.loop.time()
            await asyncio.wait([self._empty], timeout=max(remaining, 0))
        for connection in list(self._connections):
            connection.abort()
        if self._tick_handle is not None:
            self._tick_handle.cancel()

    def opened(self, connection: _Connection) -> None:
        """A connection begins; called by itself."""
        self._connections.add(connection)
        if self.draining:
            connection.expire_when_idle(self.loop.time() + _IDLE_GRACE)

    def closed(self, connection: _Connection) -> None:
        """A connection has ended; called by itself."""
        self._connections.discard(connection)
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
        """Take one connection a turn, so that workers sharing the socket share the load."""
        assert self._socket is not None
        try:
            client, _ = self._socket.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another worker was faster, or the client has gone
        except OSError as error:  # out of descriptors or memory: spinning would not help
            _log.error("cannot accept a connection, trying again in 1 s: %s", error)
            self._stop_accepting()
            self.loop.call_later(1.0, self._accept_again)
            return
        client.setblocking(False)
        adopting = self.loop.create_task(
            self.loop.connect_accepted_socket(lambda: _Connection(self), client)
        )
        self._adopting.add(adopting)
        adopting.add_done_callback(self._adopted)
        if len(self._connections) + len(self._adopting) >= self.limits.connections:
            self._stop_accepting()

    def _adopted(self, adopting: asyncio.Task[Any]) -> None:
        self._adopting.discard(adopting)
        if not adopting.cancelled() and adopting.exception() is not None:
            _log.warning("a connection failed at its start: %s", adopting.exception())
            self._accept_again()

    def _tick(self) -> None:
        """Renew the date and enforce deadlines; cheaper than a timer for every connection."""
        self.date = date_field(time.time())
        now = self.loop.time()
        for connection in list(self._connections):
            connection.enforce(now)
        self._tick_handle = self.loop.call_later(self._tick_interval(), self._tick)

    def _tick_interval(self) -> float:
        limits = self.limits
        shortest = min(limits.header_time, limits.body_time, limits.idle_time)
        return min(0.25 if self.draining else 1.0, max(shortest / 4, 0.01))


class _Connection(asyncio.Protocol):
    """One client: its requests go to the handler one at a time, its answers back in order."""

    __slots__ = (
        "_answering",
        "_closing",
        "_deadline",
        "_eof",
        "_last_deadline",
        "_loop",
        "_reader",
        "_reading",
        "_refusal",
        "_request",
        "_server",
        "_timed",
        "_transport",
        "_unparsed",
        "_write_deadline",
    )

    def __init__(self, server: Server) -> None:
        self._server = server
        self._loop = server.loop
        self._reader = RequestReader(server.limits)
        self._unparsed: deque[memoryview] = deque()
        self._answering: Reply | None = None
        self._refusal: Refused | None = None
        self._timed = IDLE
        self._deadline = self._last_deadline = self._write_deadline = _NEVER
        self._reading = True
        self._closing = self._eof = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        # The first request may not dawdle as one after another may.
        self._deadline = self._loop.time() + self._server.limits.header_time
        self._server.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._unparsed.clear()
        if self._answering is not None:
            self._answering.forsake()
        self._server.closed(self)

    def data_received(self, data: bytes) -> None:
        if self._closing:
            self._deadline = min(self._loop.time() + _LINGER, self._last_deadline)
            return
        if self._refusal is not None:
            return  # what follows a request that is refused means nothing
        if self._answering is None and not self._unparsed and len(data) <= _SLICE:
            self._feed(data)
        else:
            view = memoryview(data)
            self._unparsed.extend(view[at : at + _SLICE] for at in range(0, len(view), _SLICE))
        self._advance()
        if self._unparsed and self._reading:
            self._reading = False
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """Half-closing is allowed: what was asked before is still answered."""
        self._eof = True
        if self._closing:
            return False
        self._advance()
        return True

    def pause_writing(self) -> None:
        self._write_deadline = self._loop.time() + self._server.limits.body_time

    def resume_writing(self) -> None:
        self._write_deadline = _NEVER
        self._advance()

    def enforce(self, now: float) -> None:
        """End what has taken too long; called by the server at every tick."""
        if now > self._write_deadline or (self._closing and now > self._deadline):
            self._transport.abort()
        elif now > self._deadline:
            if self._reader.phase == IDLE:
                self._close()
            else:
                self._refuse(Refused(408, "The request took too long to arrive."))

    def expire_when_idle(self, at: float) -> None:
        """Close at `at` unless a request begins before."""
        if self._answering is None and self._reader.phase == IDLE and not self._closing:
            self._deadline = min(self._deadline, at)

    def abort(self) -> None:
        """Cut the connection now."""
        self._transport.abort()

    def _feed(self, data: bytes | memoryview) -> None:
        try:
            self._reader.feed(data)
        except Refused as refusal:  # answered after the requests that were whole before it
            self._refusal = refusal
            self._unparsed.clear()

    def _advance(self) -> None:
        """Begin the next request, or parse on, or wait for more."""
        reader = self._reader
        while self._answering is None and self._write_deadline == _NEVER and not self._closing:
            if reader.ready:
                self._begin(reader.ready.popleft())
            elif self._unparsed:
                self._feed(self._unparsed.popleft())
            elif self._refusal is not None:
                self._refuse(self._refusal)
            elif self._eof:
                self._end_of_input()
            else:
                self._await_input()
                return

    def _begin(self, request: Request) -> None:
        self._request = request
        try:
            outcome = self._server.handler(request)
        except Exception as error:
            outcome = _failure(error)
        if isinstance(outcome, Reply):
            response = outcome.promise_to(self)
            if response is None:
                self._answering = outcome
                self._timed = _ANSWERING
                self._deadline = _NEVER
                return
            outcome = response
        self._answer(outcome)

    def replied(self, response: Response) -> None:
        """The answer that the handler promised; called by its `Reply`."""
        self._answering = None
        if not self._closing:
            self._answer(response)
            self._advance()

    def _answer(self, response: Response) -> None:
        request = self._request
        self._timed = _ANSWERING
        keep_alive = request.keep_alive
        if self._server.draining and not (self._reader.ready or self._unparsed):
            keep_alive = keep_alive and self._reader.phase != IDLE
        self._write(response, request, keep_alive)
        if not keep_alive:
            self._close()

    def _write(self, response: Response, request: Request, keep_alive: bool) -> None:
        date = self._server.date
        try:
            head = encode_head(response, date, keep_alive, request.version)
        except ValueError as error:
            _log.error("the answer to %s %s was dropped: %s", request.method, request.path, error)
            response = error_response(500, _UNEXPECTED)
            head = encode_head(response, date, keep_alive, request.version)
        body = response.body
        if request.method == "HEAD" or response.status in (204, 304):
            body = b""
        if len(body) < _SLICE:
            self._transport.write(head + body)
        else:
            self._transport.writelines((head, body))

    def _await_input(self) -> None:
        phase = self._reader.phase
        if phase != self._timed:
            limits = self._server.limits
            allowed = (limits.idle_time, limits.header_time, limits.body_time)[phase]
            self._timed = phase
            self._deadline = self._loop.time() + allowed
        if self._reader.expects_continue:
            self._reader.expects_continue = False
            self._transport.write(_CONTINUE)
        if not self._reading:
            self._reading = True
            self._transport.resume_reading()

    def _end_of_input(self) -> None:
        if self._reader.phase == IDLE:
            self._close()
        else:
            self._refuse(Refused(400, "The request ended before it was whole."))

    def _refuse(self, refusal: Refused) -> None:
        """Answer what is no request, and close once the client has had time to read that."""
        response = error_response(refusal.status, refusal.message)
        self._transport.write(encode_head(response, self._server.date) + response.body)
        if self._eof:
            self._close()
            return
        self._end(_LINGER)
        if self._transport.can_write_eof():
            self._transport.write_eof()
        if not self._reading:
            self._transport.resume_reading()

    def _close(self) -> None:
        """Close once everything is written, which the client may take its time to read."""
        self._end(self._server.limits.body_time)
        self._transport.close()

    def _end(self, patience: float) -> None:
        now = self._loop.time()
        self._closing = True
        self._deadline = now + patience
        self._last_deadline = now + _LONGEST_LINGER
        self._unparsed.clear()


def _failure(error: Exception) -> Response:
    if isinstance(error, HttpError):
        return error_response(error.status, error.message)
    _log.error("a handler failed", exc_info=error)
    return error_response(500, _UNEXPECTED)
