"""One connection of a client: requests to the handler in turn, answers back in their order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Protocol, cast

from modelyard_runtime.http.encoding import (
    BODYLESS,
    CHUNKED,
    CONTINUE,
    encode_head,
    framing,
    length_field,
    persistence,
)
from modelyard_runtime.http.failures import failure, unsendable
from modelyard_runtime.http.messages import (
    Head,
    Limits,
    Refused,
    Reply,
    Request,
    Response,
)
from modelyard_runtime.http.patience import Patience, Uptake
from modelyard_runtime.http.reader import IDLE, RequestReader, Rules
from modelyard_runtime.http.receiving import BodyReceiver, receive_by
from modelyard_runtime.http.sending import BodySender, Outbox, reset
from modelyard_runtime.http.tls import peer_of
from modelyard_runtime.http.unparsed import Unparsed

_SLICE = 16 << 10
"""Most bytes parsed before the requests in them are answered, so that pipelining stays bounded; of
a body all that is there."""


class Host(Protocol):
    """The server that a connection belongs to."""

    limits: Limits
    rules: Rules
    loop: asyncio.AbstractEventLoop
    draining: bool
    date: bytes
    """The header `date`."""
    idle_until: float
    """When a connection that falls idle now has been idle for too long; never too early."""
    answer: Callable[[Request], Response | Reply]
    """Has a request answered."""

    def opened(self, connection: Connection) -> None:
        """A connection begins."""

    def closed(self, connection: Connection) -> None:
        """A connection has ended."""


class Connection(asyncio.Protocol):
    """One client. The server calls what asyncio does not."""

    __slots__ = (
        "_closing",
        "_delimited",
        "_engaged",
        "_eof",
        "_free",
        "_handler",
        "_head",
        "_loop",
        "_outbox",
        "_patience",
        "_places",
        "_reader",
        "_reading",
        "_refusal",
        "_reply",
        "_secure",
        "_sender",
        "_server",
        "_stays",
        "_taken",
        "_transport",
        "_unparsed",
        "_uptake",
    )

    def __init__(self, server: Host) -> None:
        self._server = server
        self._loop = server.loop
        self._handler = server.answer
        self._reader = RequestReader(server.rules)
        self._transport: asyncio.Transport
        self._outbox: Outbox
        self._secure = False
        self._unparsed = Unparsed()
        self._head: Head
        """Of the request that is being answered; its body belongs to whoever answers."""
        self._taken: AsyncIterator[bytes] | None = None
        """That body, if it is streamed."""
        self._reply: Reply | None = None
        """The answer that the handler has promised."""
        self._sender: BodySender | None = None
        """The answer that is being sent while it is made."""
        self._stays = True
        """The connection lives on after that answer."""
        self._delimited = True
        """The client can tell where that answer ends, other than by the end of the connection."""
        self._refusal: Refused | None = None
        """What ends the connection once the requests before are answered."""
        self._free = True
        """There is nothing to do, so that a request may be answered as it comes."""
        self._engaged = False
        """There is such a request to answer, and nothing else has happened since."""
        self._patience: Patience
        self._uptake: Uptake | None = None
        """Watched while the client is slow to take its answers: no further one is begun."""
        self._reading = True
        self._places = False
        """The rest of a long body is received where it stays."""
        self._closing = self._eof = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The client is there; with TLS, after the handshake."""
        self._transport = cast(asyncio.Transport, transport)
        self._outbox = Outbox(self._transport)
        self._secure = transport.get_extra_info("sslcontext") is not None
        if self._secure:
            self._reader.peer = peer_of(transport)
        self._patience = Patience(self._server.limits, self._loop.time())
        self._server.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended, at either side."""
        self._closing = True
        self._engaged = self._free = False
        self._unparsed.clear()
        self._forsake(Refused(400, "The client has gone."))
        self._reader.holding.release()
        self._server.closed(self)

    def data_received(self, data: bytes) -> None:
        """The next bytes from the client."""
        if self._free and len(data) <= _SLICE:
            request = self._reader.recognise(data)
            if request is not None:
                self._patience.deadline = self._server.idle_until
                self._begin(request)
                return
        self._receive(data)

    def room(self) -> memoryview:
        """Where the next bytes of a long body go; called by its `BodyReceiver`."""
        return self._reader.room()

    def filled(self, count: int) -> None:
        """So many bytes of it have come."""
        self._patience.received(count)
        try:
            self._reader.filled(count)
        except Refused as refusal:
            self._refusal = refusal
        if self._refusal is not None or not self._reader.missing:
            self._receive_here()
            self._advance()

    def eof_received(self) -> bool:
        """Half-closing is allowed: what was asked before is still answered. TLS cannot do that."""
        self._eof = True
        self._engaged = self._free = False
        if self._closing:
            return False
        self._advance()
        return not self._secure

    def pause_writing(self) -> None:
        """The client is slow to take its answers."""
        self._engaged = self._free = False
        self._watch_uptake()
        if self._sender is not None:
            self._sender.pause()

    def resume_writing(self) -> None:
        """The client has caught up."""
        if not self._closing:  # else the rest has to be taken, too
            self._uptake = None
        if self._sender is not None:
            self._sender.resume()
        self._advance()

    def enforce(self, now: float) -> None:
        """End what has taken too long; called by the server at every tick."""
        if self._uptake is not None and self._uptake.is_too_slow(now):
            self._transport.abort()
        elif self._patience.is_over(now):
            if self._closing:
                self._transport.abort()
            elif self._reader.phase == IDLE:
                self._close()
            else:
                self._refuse(Refused(408, "The request took too long to arrive."))

    def expire_when_idle(self, at: float) -> None:
        """Close at `at` unless a request begins before."""
        if not self._busy and self._reader.phase == IDLE and not self._closing:
            self._patience.hurry(at)

    def abort(self) -> None:
        """Cut the connection now."""
        self._transport.abort()

    @property
    def _busy(self) -> bool:
        return self._reply is not None or self._sender is not None

    def _receive(self, data: bytes) -> None:
        if self._closing:
            self._patience.linger_on(self._loop.time())
            return
        if self._refusal is not None:
            return  # what follows a request that is refused means nothing
        self._engaged = self._free = False
        self._patience.received(len(data))
        self._unparsed.append(data)
        self._advance()

    def _feed(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
        except Refused as refusal:  # answered after the requests that were whole before it
            self._refusal = refusal
            self._unparsed.clear()

    def _advance(self) -> None:
        """Begin the next request, or parse on, or wait for more."""
        self._outbox.gathering = True
        while self._step():
            pass
        self._outbox.gathering = False
        self._outbox.flush()
        if self._unparsed and self._reading:
            self._reading = False
            self._transport.pause_reading()

    def _step(self) -> bool:
        """Whether there may be more to do."""
        reader = self._reader
        if self._closing:
            return False
        if self._busy or self._uptake is not None:
            return self._stream_on()
        if reader.ready:
            self._begin(reader.ready.popleft())
            return True
        reader.holding.settle()
        return self._read_on()

    def _read_on(self) -> bool:
        """Take what has come from the client, be it its end; whether there may be more to do."""
        if self._unparsed:
            self._feed(self._unparsed.take(self._reader.missing or _SLICE))
        elif self._refusal is not None:
            self._refuse(self._refusal)
        elif self._eof:
            self._end_of_input()
        else:
            self._await_input()
            return False
        return True

    def _stream_on(self) -> bool:
        """Read on while it is the body of the request that is being answered which comes."""
        stream = self._reader.stream
        if stream is None or not self._busy or stream is not self._taken:
            return False
        if stream.full:
            self._hold_body()
            return False
        return self._read_on()

    def _hold_body(self) -> None:
        """The handler takes no more for now, and its time does not count."""
        self._patience.hold_body(self._loop.time())
        if self._reading:
            self._reading = False
            self._transport.pause_reading()

    def _await_input(self) -> None:
        reader = self._reader
        phase = reader.phase
        self._patience.await_phase(phase, self._loop.time(), streams=reader.stream is not None)
        if reader.expects_continue:
            reader.expects_continue = False
            self._outbox.write(CONTINUE, b"")
        self._free = phase == IDLE and reader.orderly
        if not self._reading:
            self._reading = True
            self._transport.resume_reading()
        if reader.places and not self._places:
            self._places = True
            receive_by(self._transport, BodyReceiver(self))

    def _receive_here(self) -> None:
        """No more of a long body comes."""
        if self._places:
            self._places = False
            receive_by(self._transport, self)

    def _begin(self, request: Request) -> None:
        self._head = request.head
        self._taken = request.stream
        if self._secure:
            request.peer = self._reader.peer
        self._patience.answering()
        try:
            outcome = self._handler(request)
        except Exception as error:
            outcome = failure(error)
        if isinstance(outcome, Response):
            self._answer(outcome)
            return
        response = outcome.promise_to(self)
        if response is not None:
            self._answer(response)
            return
        self._reply = outcome
        self._engaged, self._free = self._free, False
        self._patience.await_answer()
        if request.stream is not None:
            self._await_body()

    def _await_body(self) -> None:
        """The body of the request may still be on its way."""
        stream = self._reader.stream
        if stream is not None and stream is self._taken:
            stream.on_room(self._advance)

    def replied(self, response: Response) -> None:
        """The answer that the handler promised; called by its `Reply`."""
        self._reply = None
        if self._engaged:
            self._engaged = False
            self._free = True
            self._patience.deadline = self._server.idle_until
            self._answer(response)
        elif not self._closing:
            self._answer(response)
            if self._uptake is not None:
                self._watch_uptake()
            self._advance()

    def _answer(self, response: Response) -> None:
        body, server = response.body, self._server
        if (
            not self._head.usual
            or server.draining
            or response.status in BODYLESS
            or not isinstance(body, bytes)
        ):
            self._answer_with_care(response)
            return
        try:
            written = encode_head(response, server.date, length_field(len(body)))
        except ValueError as error:
            self._answer(unsendable(self._head, error))
            return
        self._outbox.write(written, body)

    def _answer_with_care(self, response: Response) -> None:
        """Answer in one of the ways that are not usual."""
        body, head = response.body, self._head
        if not isinstance(body, bytes):
            self._answer_in_parts(response, body)
            return
        keep_alive = self._keeps_alive()
        length = len(body)
        if head.method == "HEAD" and response.length is not None:
            length = response.length
        framed = framing(response.status, length) + persistence(keep_alive, head.version)
        try:
            written = encode_head(response, self._server.date, framed)
        except ValueError as error:
            self._answer_with_care(unsendable(self._head, error))
            return
        bodyless = head.method == "HEAD" or response.status in BODYLESS
        self._outbox.write(written, b"" if bodyless else body)
        if not keep_alive:
            self._part()

    def _answer_in_parts(self, response: Response, parts: AsyncIterator[bytes]) -> None:
        head = self._head
        delimited = response.length is not None or head.version == "1.1"
        keep_alive = delimited and self._keeps_alive()
        framed = framing(response.status, response.length) if delimited else b""
        sender = BodySender(parts, response.length, framed == CHUNKED, self._transport, self._sent)
        framed += persistence(keep_alive, head.version)
        try:
            written = encode_head(response, self._server.date, framed)
        except ValueError as error:
            sender.discard()
            self._answer_with_care(unsendable(self._head, error))
            return
        self._outbox.flush()
        self._transport.write(written)
        self._sender, self._stays, self._delimited = sender, keep_alive, delimited
        self._free = False
        self._patience.await_answer()
        sender.start(mute=head.method == "HEAD" or response.status in BODYLESS)
        if self._uptake is not None:
            sender.pause()

    def _sent(self, whole: bool) -> None:
        """The parts of an answer have come to an end."""
        self._sender = None
        if not whole and not self._delimited:
            reset(self._transport)  # otherwise the client would take it for the end
        elif not whole:
            self._close()
        elif not (self._stays and self._keeps_alive()):
            self._part()
        else:
            self._advance()

    def _keeps_alive(self) -> bool:
        reader = self._reader
        if not self._head.keep_alive:
            return False
        if self._server.draining and not (reader.ready or self._unparsed or reader.phase != IDLE):
            return False
        return reader.stream is None or reader.stream is not self._taken

    def _end_of_input(self) -> None:
        if self._reader.phase == IDLE:
            self._close()
        else:
            self._refuse(Refused(400, "The request ended before it was whole."))

    def _refuse(self, refusal: Refused) -> None:
        """Answer what is no request, and close once the client has had time to read that."""
        if self._sender is not None:  # its answer has begun: there is no place for another
            self._transport.abort()
            return
        self._forsake(refusal)
        response = refusal.response()
        assert isinstance(response.body, bytes)
        framed = framing(response.status, len(response.body)) + persistence(False, "1.1")
        self._outbox.write(encode_head(response, self._server.date, framed), response.body)
        if self._eof:
            self._close()
        else:
            self._linger()

    def _forsake(self, reason: Refused) -> None:
        """Nothing more comes from the client, or goes to it."""
        reply, self._reply = self._reply, None
        if self._reader.stream is not None:
            self._reader.stream.fail(reason)
        if self._sender is not None:
            self._sender.cancel()
        if reply is not None:
            reply.forsake()

    def _part(self) -> None:
        """End the connection after an answer, which may have come before the request was whole."""
        if self._reader.stream is None:
            self._close()
        else:
            self._forsake(Refused(400, "The request was answered before it was whole."))
            self._linger()

    def _linger(self) -> None:
        self._outbox.flush()
        self._end()
        self._patience.linger(self._loop.time())
        if self._transport.can_write_eof():
            self._transport.write_eof()
        if not self._reading:
            self._transport.resume_reading()

    def _close(self) -> None:
        """Close once everything is written, which the client may take its time to read."""
        self._outbox.flush()
        self._end()
        self._patience.await_answer()
        self._watch_uptake()
        self._transport.close()

    def _watch_uptake(self) -> None:
        self._uptake = Uptake(self._transport, self._server.limits, self._loop.time())

    def _end(self) -> None:
        self._closing = True
        self._engaged = self._free = False
        self._receive_here()
        self._unparsed.clear()
