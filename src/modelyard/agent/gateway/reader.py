"""Turns the bytes of one connection to a replica into answers, or says what is wrong. No I/O."""

from __future__ import annotations

import httptools

from modelyard.agent.gateway.known_answers import DROPPED, KnownAnswers

MAX_BODY = 100 << 20
"""Largest body of an answer that is kept until it is whole, in bytes."""
MAX_FIELDS = 64 << 10
"""Largest sum of the header fields of an answer, in bytes."""
LARGE = 256 << 10
"""Bytes from which a body is passed on as it comes, and is no longer kept."""

_END = b"\r\n\r\n"


class BadAnswer(Exception):
    """What a replica sent is no usable answer."""


class AnswerReader:
    """Parses one connection: `expect` an answer, `feed` bytes until it is `complete`, `take` it.

    An answer that `comes_in_parts` is not waited for: `take_parts` gives what there is.
    """

    __slots__ = (
        "_bodyless",
        "_chunks",
        "_fields",
        "_known",
        "_missing",
        "_parser",
        "_parsing",
        "_size",
        "begun",
        "complete",
        "fields",
        "last",
        "length",
        "status",
    )

    def __init__(self, known: KnownAnswers) -> None:
        self._known = known
        self._parser = httptools.HttpResponseParser(self)
        self._chunks: list[bytes] = []
        self.expect(bodyless=False)

    def expect(self, *, bodyless: bool) -> None:
        """Begin an answer; a bodyless one ends with its header, whatever that says (HEAD)."""
        self._bodyless = bodyless
        self._parsing = False
        self._size = self._missing = 0
        self._fields: list[bytes] = []
        self.status = 0
        self.fields = b""
        """Header fields to be passed on, each with its line break."""
        self.length: int | None = -1
        """Bytes of the body; None when it comes in chunks, -1 when it ends with the connection."""
        self.begun = self.complete = False
        self.last = True
        """The connection is of no use after this answer."""

    @property
    def comes_in_parts(self) -> bool:
        """Whether the answer has begun, and is to be passed on while it comes."""
        return self.begun and (self.length is None or self.length > LARGE)

    @property
    def left_out(self) -> int | None:
        """Bytes of the body that an answer without one would have, if it says that."""
        return self.length if self._bodyless and self.length != -1 else None

    def take(self) -> tuple[int, bytes, bytes]:
        """Status, header fields and body of a complete answer, which is forgotten here."""
        chunks, self._chunks = self._chunks, []
        fields, self.fields = self.fields, b""
        return self.status, fields, chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def take_parts(self) -> list[bytes]:
        """What has come of the body since the last time."""
        chunks, self._chunks = self._chunks, []
        self._size = 0
        return chunks

    def feed(self, data: bytes) -> None:
        """Parse more bytes.

        Raises:
            BadAnswer: They are not HTTP, switch to another protocol, or are too many.
        """
        if self._missing:
            self._fill(data)
        elif self._parsing or self._bodyless or not self._recognise(data):
            self._parsing = True
            self._parse(data)

    def _recognise(self, data: bytes) -> bool:
        """Whether `data` begins with a plain head, which is read without the parser."""
        raw, end, body = data.partition(_END)
        head = self._known.find(raw) if end and len(raw) <= MAX_FIELDS else None
        if head is None:
            return False
        self.status, self.fields, self.length = head
        self.begun = True
        self.last = False
        self._missing = head.length
        if body or not head.length:
            self._fill(body)
        return True

    def _fill(self, data: bytes) -> None:
        missing = self._missing
        if len(data) > missing:  # something that nobody asked for
            data = data[:missing]
            self.last = True
        self._chunks.append(data)
        self._missing = missing - len(data)
        self.complete = not self._missing

    def _parse(self, data: bytes) -> None:
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
        """One header field, or trailer."""
        self._size += len(name) + len(value)
        if self._size > MAX_FIELDS:
            raise BadAnswer(f"its answer has more than {MAX_FIELDS >> 10} KiB of header fields")
        if self.begun:
            return
        name = name.lower()
        if name == b"transfer-encoding":
            self.length = None
        elif name == b"content-length":
            self.length = int(value)
        if name not in DROPPED:
            self._fields.append(b"%b: %b\r\n" % (name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """The end of the header."""
        self._size = 0
        status = self._parser.get_status_code()
        if self.complete or status < 200:
            return
        self.status = status
        self.fields = b"".join(self._fields)
        self.begun = True
        self.complete = self._bodyless

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
        if not self.begun:  # an interim answer: the one that counts follows
            self._fields = []
            return
        self.complete = True
        self.last = not self._parser.should_keep_alive()
