"""Turns the bytes of one connection into requests, or refuses them. No I/O.

The parser underneath (llhttp) already refuses conflicting, repeated or odd lengths, folded header
lines, bare line feeds and malformed chunks; its gaps are in `heads`, and here every limit on size.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import httptools

from modelyard_runtime.http.bodies import HIGH_WATER, Body, Counted, Gathered, Inflated, Streamed
from modelyard_runtime.http.budget import Budget, Holding
from modelyard_runtime.http.encoding import CHUNKED, length_field
from modelyard_runtime.http.heads import body_too_long, headers_too_long, read_head
from modelyard_runtime.http.known_heads import KnownHeads
from modelyard_runtime.http.messages import (
    Field,
    Head,
    Limits,
    LongRequest,
    NotAdmitted,
    Peer,
    Refused,
    Request,
    Response,
)
from modelyard_runtime.http.places import Placed, Rooms

IDLE, HEAD, BODY = range(3)
"""Between requests; in the request line or the headers; in the body."""

SMALL_BODY = 16 << 10
"""Bytes of a body that may be read before anybody has admitted its request."""

_LONG_BODY = 256 << 10
"""Bytes from which a body of known length is received where it stays."""
_LONG_REST = 64 << 10
"""Bytes that must be missing of it for that to be worth while."""

_END = b"\r\n\r\n"
_CHUNK_FRAMING = 16
"""Bytes around each chunk that do not count as excess: its size in hexadecimal, two CRLF."""


@dataclass(slots=True)
class Rules:
    """What all connections of a server read by."""

    limits: Limits
    admit: Callable[[Head, Peer | None], Response | None] | None = None
    """Refuses a request before its body is read. Asked only where that makes a difference: bodies
    of up to `SMALL_BODY` bytes are read first."""
    wants_stream: Callable[[Head], bool] | None = None
    """Whether the body is to be streamed; decided by the head alone."""
    inflates: bool = True
    """Bodies with a content coding are inflated, not passed on as they are."""
    known: KnownHeads = field(init=False)
    rooms: Rooms = field(init=False)
    budget: Budget = field(init=False)

    def __post_init__(self) -> None:
        self.known = KnownHeads(self.limits, self.wants_stream)
        self.rooms = Rooms()
        self.budget = Budget(max(self.limits.bodies_bytes, self.limits.body_bytes))


class RequestReader:
    """Parses one connection; the server feeds it, takes `ready` requests, and watches `phase`."""

    __slots__ = (
        "_body",
        "_excess",
        "_fields",
        "_head",
        "_known",
        "_parser",
        "_raw_head_bytes",
        "_replaying",
        "_rules",
        "_size",
        "_streams",
        "_target",
        "expects_continue",
        "holding",
        "missing",
        "orderly",
        "peer",
        "phase",
        "ready",
        "stream",
    )

    def __init__(self, rules: Rules) -> None:
        self.ready: deque[Request] = deque()
        self.phase = IDLE
        self.stream: Streamed | None = None
        """The body that comes now, if it is streamed: its request was `ready` with the headers."""
        self.peer: Peer | None = None
        """Who sends the requests, if that is known."""
        self.expects_continue = False
        """The client waits for `100 Continue` before it sends the body."""
        self.holding = Holding(rules.budget)
        self._rules = rules
        self._known = rules.known
        self._parser = httptools.HttpRequestParser(self)
        self.orderly = True
        """Between requests the parser is as good as new, so that it need not see the next one."""
        self._replaying = False
        self.missing = 0
        """The next so many bytes are of the body, whatever they are; 0 when that is not known."""
        self._raw_head_bytes = self._excess = self._size = 0
        self._target = b""
        self._fields: list[Field] = []
        self._head: Head
        self._body: Body
        self._streams = False

    def recognise(self, data: bytes) -> Request | None:
        """The request that `data` is, if it is exactly one, with a plain head.

        Only when `orderly`, and between requests. It gives what `feed` would, in less time.
        """
        raw, end, body = data.partition(_END)
        if not end:
            return None
        head = self._known.heads.recent.get(raw) or self._known.find(raw)
        if head is None or len(body) != head.length:
            return None
        return Request.of(head, body)

    def feed(self, data: bytes) -> None:
        """Parse more bytes; requests are appended to `ready`.

        Raises:
            Refused: The bytes are malformed or beyond a limit. Requests that were whole before
                stay in `ready`; nothing more can be fed.
        """
        while data:
            if self.missing:
                data = self._fill(data)
            elif self.phase == IDLE and self.orderly and data[0] > 32:
                data = self._begin(data)
            else:
                self._parse(data)
                return

    @property
    def places(self) -> bool:
        """Most of a long body is missing: it may go into `room` instead of through `feed`."""
        return self.missing >= _LONG_REST and isinstance(self._body, Placed)

    def room(self) -> memoryview:
        """Where to put the next missing bytes, or some of them. Only after `places` was true."""
        assert isinstance(self._body, Placed)
        return self._body.room()

    def filled(self, count: int) -> None:
        """So many bytes were put there; with the last one the request is `ready`."""
        assert isinstance(self._body, Placed)
        self._body.filled(count)
        self.missing -= count
        if not self.missing:
            self._complete()

    def _begin(self, data: bytes) -> bytes:
        """Take the head of the next request, without the parser if it is plain.

        Returns:
            What is left of `data`.
        """
        raw, end, rest = data.partition(_END)
        head = self._known.find(raw) if end else None
        if head is not None:
            self._begin_body(head)
            self._skip_parser(head)
        else:
            self._parse(raw + end)
        return rest

    def _skip_parser(self, head: Head) -> None:
        self.missing = head.length or 0
        if not self.missing:
            self._complete()

    def _fill(self, data: bytes) -> bytes:
        """Take what `data` holds of a body whose length is known; returns what is left."""
        missing = self.missing
        part, rest = (data, b"") if len(data) <= missing else (data[:missing], data[missing:])
        self.missing = missing - len(part)
        self._body.put(part)
        if not self.missing:
            self._complete()
        return rest

    def _begin_body(self, head: Head) -> None:
        """The headers are complete: decide how the body is taken, if it is to be taken at all."""
        rules = self._rules
        length = head.length
        self._head = head
        self._streams = rules.wants_stream is not None and rules.wants_stream(head)
        large = length is None or length > SMALL_BODY or bool(head.coding)
        if rules.admit is not None and (large or self._streams or head.expects_continue):
            refusal = rules.admit(head, self.peer)
            if refusal is not None:
                raise NotAdmitted(refusal)
        if large:
            most = HIGH_WATER if self._streams else rules.limits.body_bytes
            self.holding.begin(length or 0, most)
        self.phase = BODY
        self.expects_continue = head.expects_continue
        self._size = 0
        self._body = self._place_for(head, large)

    def _place_for(self, head: Head, large: bool) -> Body:
        """What takes the body."""
        rules, length = self._rules, head.length
        body: Body
        if self._streams:
            body = self._stream_body(head)
        elif length is None or length < _LONG_BODY or head.coding:
            body = Gathered()
        else:
            return Placed(length, rules.rooms, self.holding)
        if large:
            body = Counted(body, self.holding)
        if head.coding:
            too_long = body_too_long(rules.limits)
            body = Inflated(body, head.coding, rules.limits.body_bytes, too_long)
        return body

    def _stream_body(self, head: Head) -> Streamed:
        self.stream = Streamed()
        self.ready.append(Request.of(head, b"", self.stream))
        return self.stream

    def _complete(self) -> None:
        body = self._body.end()
        self.holding.end()
        self.phase = IDLE
        self.expects_continue = False
        if self.stream is not None:
            self.stream = None
        elif isinstance(body, memoryview):
            self.ready.append(LongRequest.lending(self._head, body))
        else:
            self.ready.append(Request.of(self._head, body))

    def _parse(self, data: bytes) -> None:
        if self.phase == HEAD:
            self._raw_head_bytes += len(data)
        elif self.phase == BODY:
            self._excess += len(data)
        upgrade_ends = None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            upgrade_ends = upgrade.args[0]
        except httptools.HttpParserCallbackError as error:
            raise error.__context__ or error from None
        except httptools.HttpParserError as error:
            raise Refused(400, f"The request is malformed: {error}.") from None
        if upgrade_ends is not None:  # out here, or it would be the context of what is raised next
            self._ignore_upgrade(data[upgrade_ends:])
        if self.phase != IDLE:
            self._bound_unfinished()

    def _bound_unfinished(self) -> None:
        """Bound what the parser gathers before it reports it: fields, trailers, extensions."""
        limits = self._rules.limits
        if self.phase == HEAD and self._raw_head_bytes > limits.header_bytes + limits.url_bytes:
            raise headers_too_long(limits)
        if self.phase == BODY:
            self._excess = max(self._excess, 0)
            if self._excess > limits.header_bytes:
                raise Refused(400, "The chunks of the body carry more framing than data.")

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Read on as if `Upgrade` had not been there, as RFC 9110 allows a server to do.

        The parser takes a request to upgrade as one without a body, yet common clients ask for
        HTTP/2 on every request. So a fresh parser reads the body, led in by the same framing.
        """
        if self.phase == BODY:
            self._parser = httptools.HttpRequestParser(self)
            self._replaying = True
            length = self._head.length
            framing = CHUNKED if length is None else length_field(length)
            self._parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n")
        if rest:
            self._parse(rest)

    # What follows is called by the parser, in the order of a message.

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        if self._replaying:
            return
        self.phase = HEAD
        self._target = b""
        self._fields = []
        self._raw_head_bytes = self._excess = 0

    def on_url(self, part: bytes) -> None:
        """The request target, or the next part of it."""
        self._target += part
        if len(self._target) > self._rules.limits.url_bytes:
            limit = self._rules.limits.url_bytes
            raise Refused(414, f"The URL is longer than {limit} bytes.")

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header field. Those after the headers, trailers, are never looked at."""
        self._fields.append((name.lower(), value.rstrip()))

    def on_headers_complete(self) -> None:
        """Everything that can be refused before the body is."""
        if self._replaying:
            self._replaying = False
            return
        parser, rules = self._parser, self._rules
        fields, self._fields = self._fields, []
        head = read_head(
            parser.get_method().decode(),
            self._target,
            fields,
            parser.get_http_version(),
            parser.should_keep_alive(),
            rules.limits,
            rules.inflates,
        )
        self._begin_body(head)

    def on_body(self, part: bytes) -> None:
        """The body, or the next part of it."""
        self._excess -= len(part)
        self._size += len(part)
        if self._size > self._rules.limits.body_bytes:
            raise body_too_long(self._rules.limits)
        self._body.put(part)

    def on_chunk_complete(self) -> None:
        """The end of one chunk."""
        self._excess -= _CHUNK_FRAMING

    def on_message_complete(self) -> None:
        """The end of a request, unless the parser only thinks so because of an upgrade."""
        upgrades = self._parser.should_upgrade()
        if upgrades and self._head.length != 0:
            return
        self.orderly = self._head.keep_alive and not upgrades
        self._complete()
