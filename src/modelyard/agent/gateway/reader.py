"""Turns the bytes of one connection to a replica into answers, or says what is wrong. No I/O."""

from __future__ import annotations

import httptools

MAX_BODY = 100 << 20
"""Largest body of an answer, in bytes; a request's is limited to the same."""
MAX_FIELDS = 64 << 10
"""Largest sum of the header fields of an answer, in bytes."""

HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"content-length",
        b"expect",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
"""Fields about one connection, or written anew for the next one: never passed on."""
_DROPPED = HOP_BY_HOP | {b"date", b"server", b"x-request-id"}

Fields = list[tuple[bytes, bytes]]
"""Header fields: names in lower case, and values."""


class BadAnswer(Exception):
    """What a replica sent is no usable answer."""


class AnswerReader:
    """Parses one connection: `expect` an answer, `feed` bytes until it is `complete`, `take` it."""

    __slots__ = (
        "_bodyless",
        "_chunks",
        "_fields",
        "_parser",
        "_size",
        "_status",
        "complete",
        "last",
    )

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._fields: Fields = []
        self._chunks: list[bytes] = []
        self._status = 0
        self.expect(bodyless=False)

    def expect(self, *, bodyless: bool) -> None:
        """Begin an answer; a bodyless one ends with its header, whatever that says (HEAD)."""
        self._bodyless = bodyless
        self._size = 0
        self.complete = False
        self.last = True
        """The connection is of no use after this answer."""

    def take(self) -> tuple[int, Fields, bytes]:
        """Status, header fields and body of a complete answer, which is forgotten here."""
        chunks, fields = self._chunks, self._fields
        self._chunks, self._fields = [], []
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        return self._status, fields, body

    def feed(self, data: bytes) -> None:
        """Parse more bytes.

        Raises:
            BadAnswer: They are not HTTP, switch to another protocol, or are too many.
        """
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            raise error.__context__ or error from None
        except httptools.HttpParserUpgrade:
            raise BadAnswer("its answer switches to another protocol") from None
        except httptools.HttpParserError as error:
            raise BadAnswer(f"its answer is not HTTP: {error}") from None

    # What follows is called by the parser, in the order of an answer.

    def on_message_begin(self) -> None:
        """The first byte of an answer; after a complete one, of one that nobody asked for."""
        if self.complete:
            self.last = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header field."""
        self._size += len(name) + len(value)
        if self._size > MAX_FIELDS:
            raise BadAnswer(f"its answer has more than {MAX_FIELDS >> 10} KiB of header fields")
        name = name.lower()
        if name not in _DROPPED and not self.complete:
            self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        """The end of the header."""
        self._size = 0
        if self._bodyless and not self.complete:
            self._status = self._parser.get_status_code()
            self.complete = self._status >= 200

    def on_body(self, chunk: bytes) -> None:
        """The body, or the next part of it."""
        if self.complete:
            return
        self._size += len(chunk)
        if self._size > MAX_BODY:
            raise BadAnswer(f"its answer is larger than {MAX_BODY >> 20} MiB")
        self._chunks.append(chunk)

    def on_message_complete(self) -> None:
        """The end of an answer."""
        if self.complete:
            return
        self._status = self._parser.get_status_code()
        if self._status < 200:  # an interim answer: the one that counts follows
            self._fields = []
            return
        self.complete = True
        self.last = not self._parser.should_keep_alive()
