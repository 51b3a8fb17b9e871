"""One replica seen from the gateway: its connections, kept alive, and the requests on them.

The heart of it is telling apart a request that a replica has not received, which may be sent to
another one, from one that it may have, which must not be sent twice. Nothing has to be guessed: a
Unix socket has no buffer between its two ends, so the kernel tells what the peer had read when it
closed. Reset, broken pipe or bytes still unsent: not the whole request, so it was never begun. A
clean end with everything sent: it was read. A port, where a container shares no socket with its
host, tells nothing: what was written there counts as received.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol, cast

from modelyard.agent.gateway.board import Tally
from modelyard.agent.gateway.capturing import Recording
from modelyard.agent.gateway.config import Upstream
from modelyard.agent.gateway.counters import Series
from modelyard.agent.gateway.deadlines import Deadlines
from modelyard.agent.gateway.known_answers import KnownAnswers
from modelyard.agent.gateway.reader import AnswerReader, BadAnswer
from modelyard.agent.gateway.relaying import AnswerBody, RequestBody, chunk
from modelyard_runtime.http.server import HttpError, Reply

_SMALL = 16 << 10  # bytes up to which head and body are cheaper to join than to send apart


class Owner(Protocol):
    """Is told, once for every time an exchange was sent to a replica, what became of it there."""

    def answered(
        self, exchange: Exchange, status: int, fields: bytes, body: bytes, length: int | None
    ) -> None:
        """The replica answered; `length` is what it says of a body that it leaves out (HEAD)."""

    def begun(
        self, exchange: Exchange, status: int, fields: bytes, body: AnswerBody, length: int | None
    ) -> None:
        """The replica has begun to answer, and the body is to be passed on as it comes."""

    def moved(self, exchange: Exchange) -> None:
        """Another part of a body has come, or gone, that is passed on as it comes."""

    def held(self, exchange: Exchange) -> None:
        """The client takes no more of such an answer for now; `moved` follows."""

    def ended(self, exchange: Exchange) -> None:
        """Such an answer has been passed on, or nobody wants the rest of it."""

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
        body: The request's body, or its beginning.
        rest: What follows of the body, to be passed on as it comes; None when it is whole.
        chunked: The rest is framed in chunks, because its length is not known.
        passed_on: A replica has been sent some of what comes only once.
        request_id: Names the request in answers and logs; the caller may have chosen it.
        prediction_id: Names the answer, and no other.
        recording: What records it, where that is wanted.
        bodyless: Whether the answer has no body whatever its header says (HEAD).
        attempts: How often it has been sent to a replica.
        replica: Where it is, or was last.
        connection: What it is on at that replica; None before and after.
        deployment: Id of the only one that may have it; empty: any.
        named: The caller asked for that deployment, so no other will do.
        clock: What ends it when its present stage, waiting or running, takes too long.
        waits_since: When its wait for a replica began, however often it waits; 0 before the first.
        patience_ends: When that wait ends.
        repeatable: It may be sent again though a replica may have run it.
        over: Its owner has ended it, whatever still comes from the replica.
        sent_at: When it was last sent to a replica, monotonic seconds.
        status: Of its answer, which has begun and is passed on as it comes; 0 before.
        took: Seconds until that began.
    """

    __slots__ = (
        "attempts",
        "body",
        "bodyless",
        "chunked",
        "clock",
        "connection",
        "deployment",
        "head",
        "named",
        "over",
        "owner",
        "passed_on",
        "patience_ends",
        "prediction_id",
        "recording",
        "repeatable",
        "replica",
        "request_id",
        "rest",
        "sent_at",
        "status",
        "took",
        "waits_since",
    )

    def __init__(
        self,
        owner: Owner,
        request_id: bytes,
        head: bytes,
        body: bytes,
        bodyless: bool = False,
        prediction_id: bytes = b"",
        recording: Recording | None = None,
    ) -> None:
        super().__init__()
        self.owner = owner
        self.request_id = request_id
        self.prediction_id = prediction_id or request_id
        self.recording = recording
        self.head = head
        self.body = body
        self.bodyless = bodyless
        self.rest: AsyncIterator[bytes] | None = None
        self.chunked = self.passed_on = False
        self.deployment, self.named = "", False
        self.attempts = 0
        self.replica: Replica | None = None
        self.connection: Connection | None = None
        self.clock: Deadlines[Exchange] | None = None
        self.waits_since = self.patience_ends = self.sent_at = self.took = 0.0
        self.over = self.repeatable = False
        self.status = 0

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
        "known_answers",
        "losses",
        "requests",
        "resting",
        "retired",
        "series",
        "upstream",
    )

    def __init__(self, upstream: Upstream, series: Series, requests: Tally) -> None:
        self.upstream = upstream
        self.series = series
        """Where its answers are counted."""
        named = upstream.deployment.encode()
        self.field = b"x-modelyard-deployment: %b\r\n" % named if named else b""
        """Tells the client where its answer came from."""
        self.requests = requests
        """Those that it has in flight, from this process and from others."""
        self.retired = False
        """Gets no new request; its connections close as they fall idle."""
        self.failures = 0
        """How often in a row it was set aside."""
        self.losses = 0
        """How many requests in a row it has lost, or answered with what is no HTTP."""
        self.resting = False
        """Set aside, because it could not be reached, or for its losses."""
        self.known_answers = KnownAnswers()
        self._idle: list[Connection] = []
        self._connecting: set[asyncio.Task[None]] = set()

    @property
    def in_flight(self) -> int:
        """Requests that it has from this process."""
        return self.requests.own

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
        try:
            connection = await self._open(asyncio.get_running_loop())
        except OSError as error:
            if not exchange.over:
                exchange.owner.unreachable(exchange, str(error))
            return
        if exchange.rest is not None and exchange.abandoned and not exchange.over:
            exchange.owner.ended(exchange)  # the rest of its body will never come
        if exchange.over:
            self.keep(connection)
        elif connection.usable:
            connection.send(exchange)
        else:  # closed by the replica before there was anything to read
            exchange.owner.unread(exchange)

    async def _open(self, loop: asyncio.AbstractEventLoop) -> Connection:
        address = self.upstream.socket
        if self.upstream.is_unix:
            _, connection = await loop.create_unix_connection(lambda: Connection(self), address)
        else:
            host, _, port = address.rpartition(":")
            _, connection = await loop.create_connection(lambda: Connection(self), host, int(port))
        return connection


class Connection(asyncio.Protocol):
    """One connection to a replica, with at most one request on it at a time."""

    __slots__ = (
        "_answer",
        "_begun",
        "_exchange",
        "_reader",
        "_replica",
        "_transport",
        "_unsent",
        "_upload",
    )

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._reader = AnswerReader(replica.known_answers)
        self._transport: asyncio.Transport
        self._exchange: Exchange | None = None
        self._answer: AnswerBody | None = None
        """The body of the answer, while it is passed on as it comes."""
        self._upload: RequestBody | None = None
        """The same of the request."""
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
        if exchange.rest is not None:
            self._begin_upload(exchange, exchange.rest)
        elif len(body) < _SMALL:
            self._transport.write(exchange.head + body)
        else:
            self._transport.writelines((exchange.head, body))

    def close(self) -> None:
        """End it at once, and tell no owner: what is on it is over already."""
        self._exchange = None
        self._end_bodies()
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The loop has connected it."""
        self._transport = cast(asyncio.Transport, transport)

    def pause_writing(self) -> None:
        """The replica is slow to read."""
        if self._upload is not None:
            self._upload.pause()

    def resume_writing(self) -> None:
        """The replica has caught up."""
        if self._upload is not None:
            self._upload.resume()

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
        if self._answer is not None:
            self._pass_on(exchange, self._answer)
        elif reader.complete:
            self._release(exchange)
            exchange.owner.answered(exchange, *reader.take(), reader.left_out)
        elif reader.comes_in_parts:
            self._begin_answer(exchange)

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
        if unread and self._replica.upstream.is_unix and not self._begun and not exchange.passed_on:
            exchange.owner.unread(exchange)
        else:
            exchange.owner.lost(exchange, "replica_lost", "it ended while it had the request")

    def _begin_upload(self, exchange: Exchange, rest: AsyncIterator[bytes]) -> None:
        exchange.passed_on = True
        body = exchange.body
        if body:
            body = chunk(body) if exchange.chunked else body
        self._transport.writelines((exchange.head, body))
        self._upload = RequestBody(
            rest, exchange.chunked, self._transport, lambda: exchange.owner.moved(exchange)
        )

    def _begin_answer(self, exchange: Exchange) -> None:
        reader = self._reader
        if exchange.settled:  # the client has gone
            self._abandon()
            return
        self._answer = AnswerBody(self._abandon)
        self._answer.on_room(self._read_on)
        length = reader.length
        exchange.owner.begun(exchange, reader.status, reader.fields, self._answer, length)
        self._pass_on(exchange, self._answer)

    def _pass_on(self, exchange: Exchange, answer: AnswerBody) -> None:
        for part in self._reader.take_parts():
            answer.put(part)
        if self._reader.complete:
            answer.end()
            self._release(exchange)
            exchange.owner.ended(exchange)
        elif answer.full:
            self._transport.pause_reading()
            exchange.owner.held(exchange)
        else:
            exchange.owner.moved(exchange)

    def _read_on(self) -> None:
        """The client has caught up."""
        if self._exchange is not None:
            self._transport.resume_reading()
            self._exchange.owner.moved(self._exchange)

    def _abandon(self) -> None:
        """The client wants no more of an answer that has begun."""
        exchange = self._exchange
        if exchange is not None:
            self.close()
            exchange.connection = None
            exchange.owner.ended(exchange)

    def _release(self, exchange: Exchange) -> None:
        """The answer is complete: the connection is for the next request, if it is of use."""
        whole = self._upload is None or self._upload.whole
        self._done(exchange)
        if self._reader.last or not whole:
            self._transport.abort()
        else:
            self._replica.keep(self)

    def _done(self, exchange: Exchange) -> None:
        self._exchange = None
        exchange.connection = None
        if self._answer is not None or self._upload is not None:
            self._end_bodies()

    def _end_bodies(self) -> None:
        answer, self._answer = self._answer, None
        upload, self._upload = self._upload, None
        if answer is not None:
            answer.fail(HttpError(502, "its replica has broken off the answer"))
        if upload is not None:
            upload.cancel()
