"""One replica seen from the gateway: its connections, kept alive, and the requests on them.

The heart of it is telling apart a request that a replica has not received, which may be sent to
another one, from one that it may have, which must not be sent twice. Nothing has to be guessed: a
Unix socket has no buffer between its two ends, so the kernel tells what the peer had read when it
closed. Reset, broken pipe or bytes still unsent: not the whole request, so it was never begun. A
clean end with everything sent: it was read.
"""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

from modelyard.agent.gateway.config import Upstream
from modelyard.agent.gateway.deadlines import Deadlines
from modelyard.agent.gateway.reader import AnswerReader, BadAnswer, Fields
from modelyard_runtime.http import Reply

_SMALL = 16 << 10  # bytes up to which head and body are cheaper to join than to send apart


class Owner(Protocol):
    """Is told, once for every time an exchange was sent to a replica, what became of it there."""

    def answered(self, exchange: Exchange, status: int, fields: Fields, body: bytes) -> None:
        """The replica answered."""

    def unreachable(self, exchange: Exchange, reason: str) -> None:
        """There was no connection to the replica: it cannot have received the request."""

    def unread(self, exchange: Exchange) -> None:
        """The connection ended before the replica had read the whole request: it has not begun."""

    def lost(self, exchange: Exchange, code: str, reason: str) -> None:
        """The replica may have received the request, and no usable answer came."""

    def abandoned(self, exchange: Exchange) -> None:
        """The client has gone, wherever the request is; at most once."""


class Exchange(Reply):
    """One request, the promise of its answer, and where it is.

    Attributes:
        owner: Who is told what became of it.
        head: Request line and header fields as a replica gets them.
        body: The request's body.
        request_id: Names the request in answers and logs.
        bodyless: Whether the answer has no body whatever its header says (HEAD).
        attempts: How often it has been sent to a replica.
        replica: Where it is, or was last.
        connection: What it is on at that replica; None before and after.
        clock: What ends it when its present stage, waiting or running, takes too long.
        patience_ends: When its wait for a replica ends, however often it waits; 0 before the first.
        over: Its owner has ended it, whatever still comes from the replica.
    """

    __slots__ = (
        "attempts",
        "body",
        "bodyless",
        "clock",
        "connection",
        "head",
        "over",
        "owner",
        "patience_ends",
        "replica",
        "request_id",
    )

    def __init__(
        self,
        owner: Owner,
        request_id: bytes,
        head: bytes,
        body: bytes,
        bodyless: bool = False,
    ) -> None:
        super().__init__()
        self.owner = owner
        self.request_id = request_id
        self.head = head
        self.body = body
        self.bodyless = bodyless
        self.attempts = 0
        self.replica: Replica | None = None
        self.connection: Connection | None = None
        self.clock: Deadlines[Exchange] | None = None
        self.patience_ends = 0.0
        self.over = False

    def abandon(self) -> None:
        """The client has gone."""
        self.owner.abandoned(self)


class Replica:
    """One replica: how busy it is, and its idle connections."""

    __slots__ = (
        "_connecting",
        "_idle",
        "failures",
        "field",
        "in_flight",
        "resting",
        "retired",
        "upstream",
    )

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.field = (b"x-modelyard-deployment", upstream.deployment.encode())
        self.in_flight = 0
        self.retired = False
        """Gets no new request; its connections close as they fall idle."""
        self.failures = 0
        """How often in a row it could not be reached."""
        self.resting = False
        """Set aside for a short time after such a failure."""
        self._idle: list[Connection] = []
        self._connecting: set[asyncio.Task[None]] = set()

    def send(self, exchange: Exchange) -> None:
        """Send a request; its owner is told what became of it, never before this returns."""
        exchange.replica = self
        exchange.attempts += 1
        if exchange.attempts == 1:
            while self._idle:
                connection = self._idle.pop()
                if connection.usable:
                    connection.send(exchange)
                    return
        # One that was not received before goes over a new connection: a replica that has just
        # closed one idle connection may have closed them all.
        task = asyncio.get_running_loop().create_task(self._connect(exchange))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    def retire(self) -> None:
        """No new request will come: close what is idle."""
        self.retired = True
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    def keep(self, connection: Connection) -> None:
        """A connection has fallen idle."""
        if self.retired:
            connection.close()
        else:
            self._idle.append(connection)

    def forget(self, connection: Connection) -> None:
        """A connection has ended; no error when it was not idle."""
        if connection in self._idle:
            self._idle.remove(connection)

    async def _connect(self, exchange: Exchange) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_unix_connection(
                lambda: Connection(self), self.upstream.socket
            )
        except OSError as error:
            if not exchange.over:
                exchange.owner.unreachable(exchange, str(error))
            return
        if exchange.over:
            self.keep(connection)
        elif connection.usable:
            connection.send(exchange)
        else:  # closed by the replica before there was anything to read
            exchange.owner.unread(exchange)


class Connection(asyncio.Protocol):
    """One connection to a replica, with at most one request on it at a time."""

    __slots__ = ("_begun", "_exchange", "_reader", "_replica", "_transport", "_unsent")

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._reader = AnswerReader()
        self._transport: asyncio.Transport
        self._exchange: Exchange | None = None
        self._begun = self._unsent = False

    @property
    def usable(self) -> bool:
        """Whether nobody has begun to close it."""
        return not self._transport.is_closing()

    def send(self, exchange: Exchange) -> None:
        """Write one request; the connection must be idle."""
        self._reader.expect(bodyless=exchange.bodyless)
        self._begun = False
        self._exchange = exchange
        exchange.connection = self
        body = exchange.body
        if len(body) < _SMALL:
            self._transport.write(exchange.head + body)
        else:
            self._transport.writelines((exchange.head, body))

    def close(self) -> None:
        """End it at once, and tell no owner: what is on it is over already."""
        self._exchange = None
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The loop has connected it."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """The next bytes of the answer."""
        exchange = self._exchange
        if exchange is None:  # an answer that nobody asked for
            self._replica.forget(self)
            self._transport.abort()
            return
        self._begun = True
        reader = self._reader
        try:
            reader.feed(data)
        except BadAnswer as error:
            self._done(exchange)
            self._transport.abort()
            exchange.owner.lost(exchange, "bad_answer", str(error))
            return
        if reader.complete:
            self._done(exchange)
            if reader.last:
                self._transport.abort()
            else:
                self._replica.keep(self)
            exchange.owner.answered(exchange, *reader.take())

    def eof_received(self) -> None:
        """The replica closes; whether it has read the request is known now or when it is lost."""
        self._replica.forget(self)
        if self._exchange is not None and self._transport.get_write_buffer_size():
            # The rest of the request must not follow: the replica has not read it all, and
            # another one is about to get it.
            self._unsent = True
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended, at either side."""
        self._replica.forget(self)
        exchange = self._exchange
        if exchange is None:
            return
        self._done(exchange)
        unread = self._unsent or isinstance(exc, ConnectionResetError | BrokenPipeError)
        if unread and not self._begun:
            exchange.owner.unread(exchange)
        else:
            exchange.owner.lost(exchange, "replica_lost", "it ended while it had the request")

    def _done(self, exchange: Exchange) -> None:
        self._exchange = None
        exchange.connection = None
