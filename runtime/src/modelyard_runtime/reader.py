"""Turns the bytes of one connection into whole requests, or refuses them. No I/O.

The parser underneath (llhttp) already refuses conflicting, repeated or odd lengths, folded header
lines, bare line feeds and malformed chunks; here come its gaps, and every limit on size.
"""

from __future__ import annotations

import re
from collections import deque

import httptools

from modelyard_runtime.messages import Head, Headers, Limits, Refused, Request, split_target

IDLE, HEAD, BODY = range(3)
"""Between requests; in the request line or the headers; in the body."""

_SINGLE = frozenset({b"host", b"content-length", b"transfer-encoding", b"expect"})
"""Fields that decide where a request ends and whom it is for: two of one kind are refused."""
_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=:\[\]-]+")
_CHUNK_FRAMING = 16
"""Bytes around each chunk that do not count as excess: its size in hexadecimal, two CRLF."""


class RequestReader:
    """Parses one connection; the server feeds it, takes `ready` requests, and watches `phase`."""

    __slots__ = (
        "_body",
        "_excess",
        "_fields",
        "_headers",
        "_keep_alive",
        "_limits",
        "_method",
        "_parser",
        "_raw_head_bytes",
        "_replaying",
        "_single",
        "_target",
        "_url",
        "_version",
        "expects_continue",
        "phase",
        "ready",
    )

    def __init__(self, limits: Limits) -> None:
        self.ready: deque[Request] = deque()
        self.phase = IDLE
        self.expects_continue = False
        """The client waits for `100 Continue` before it sends the body."""
        self._limits = limits
        self._parser = httptools.HttpRequestParser(self)
        self._replaying = False
        self._raw_head_bytes = self._excess = 0
        self._fields: list[tuple[bytes, bytes]] = []
        self._body: bytes | bytearray = b""

    def feed(self, data: bytes | memoryview) -> None:
        """Parse more bytes; whole requests are appended to `ready`.

        Raises:
            Refused: The bytes are malformed or beyond a limit. Requests that were whole before
                stay in `ready`; nothing more can be fed.
        """
        if self.phase == HEAD:
            self._raw_head_bytes += len(data)
        elif self.phase == BODY:
            self._excess += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserCallbackError as error:
            raise error.__context__ or error from None
        except httptools.HttpParserError as error:
            raise Refused(400, f"The request is malformed: {error}.") from None
        if self.phase != IDLE:
            self._bound_unfinished()

    def _bound_unfinished(self) -> None:
        """Bound what the parser gathers before it reports it: fields, trailers, extensions."""
        limits = self._limits
        if self.phase == HEAD and self._raw_head_bytes > limits.header_bytes + limits.url_bytes:
            raise self._headers_too_long()
        if self.phase == BODY:
            self._excess = max(self._excess, 0)
            if self._excess > limits.header_bytes:
                raise Refused(400, "The chunks of the body carry more framing than data.")

    def _ignore_upgrade(self, rest: bytes | memoryview) -> None:
        """Read on as if `Upgrade` had not been there, as RFC 9110 allows a server to do.

        The parser takes a request to upgrade as one without a body, yet common clients ask for
        HTTP/2 on every request. So a fresh parser reads the body, led in by the same framing.
        """
        if self.phase == BODY:
            self._parser = httptools.HttpRequestParser(self)
            self._replaying = True
            framing = [
                b"%b: %b\r\n" % field for field in self._single.items() if field[0] != b"host"
            ]
            self._parser.feed_data(b"POST / HTTP/1.1\r\n" + b"".join(framing) + b"\r\n")
        if rest:
            self.feed(rest)

    # What follows is called by the parser, in the order of a message.

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        if self._replaying:
            return
        self.phase = HEAD
        self._url = b""
        self._fields = []
        self._raw_head_bytes = self._excess = 0
        self._body = b""

    def on_url(self, part: bytes) -> None:
        """The request target, or the next part of it."""
        self._url += part
        if len(self._url) > self._limits.url_bytes:
            raise Refused(414, f"The URL is longer than {self._limits.url_bytes} bytes.")

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header field. Those after the headers, trailers, are never looked at."""
        self._fields.append((name.lower(), value.rstrip()))

    def on_headers_complete(self) -> None:
        """Everything that can be refused before the body is."""
        if self._replaying:
            self._replaying = False
            return
        parser = self._parser
        self._version = parser.get_http_version()
        self._keep_alive = parser.should_keep_alive()
        self._method = parser.get_method().decode()
        self._target = split_target(self._url)
        self._headers = self._fields
        self._fields = []
        self._check_fields()
        self._check_host()
        self._check_framing()
        self.phase = BODY

    def _check_fields(self) -> None:
        single: dict[bytes, bytes] = {}
        size = 0
        for name, value in self._headers:
            size += len(name) + len(value)
            if name in _SINGLE:
                if name in single:
                    raise Refused(400, f"The header `{name.decode()}` is given more than once.")
                single[name] = value
        self._single = single
        if size > self._limits.header_bytes:
            raise self._headers_too_long()
        if len(self._headers) > self._limits.header_count:
            raise Refused(431, f"There are more than {self._limits.header_count} headers.")

    def _headers_too_long(self) -> Refused:
        return Refused(431, f"The headers are longer than {self._limits.header_bytes} bytes.")

    def _check_host(self) -> None:
        if self._version not in ("1.1", "1.0"):
            raise Refused(505, f"HTTP/{self._version} is not served here; use HTTP/1.1.")
        host = self._single.get(b"host")
        if host is None:
            if self._version == "1.1":
                raise Refused(400, "The header `host` is missing.")
        elif not _HOST.fullmatch(host):
            raise Refused(400, "The header `host` is not a host name.")

    def _check_framing(self) -> None:
        length = self._single.get(b"content-length")
        coding = self._single.get(b"transfer-encoding")
        if length is not None and not length.isdigit():
            raise Refused(400, "The header `content-length` is not a number.")
        if coding is not None:
            if length is not None or self._version == "1.0" or coding.lower() != b"chunked":
                raise Refused(400, "Only `transfer-encoding: chunked` without a length is served.")
        elif length is not None and int(length) > self._limits.body_bytes:
            raise self._too_large()
        expect = self._single.get(b"expect")
        if expect is not None and self._version == "1.1":
            if expect.lower() != b"100-continue":
                raise Refused(417, "Only `expect: 100-continue` is served.")
            self.expects_continue = True

    def _too_large(self) -> Refused:
        return Refused(413, f"The body is longer than {self._limits.body_bytes} bytes.")

    def on_body(self, part: bytes) -> None:
        """The body, or the next part of it."""
        self._excess -= len(part)
        if not self._body:
            self._body = part
        elif isinstance(self._body, bytes):
            self._body = bytearray(self._body + part)
        else:
            self._body += part
        if len(self._body) > self._limits.body_bytes:
            raise self._too_large()

    def on_chunk_complete(self) -> None:
        """The end of one chunk."""
        self._excess -= _CHUNK_FRAMING

    def on_message_complete(self) -> None:
        """The end of a request, unless the parser only thinks so because of an upgrade."""
        if self._parser.should_upgrade() and self._announces_body():
            return
        self.phase = IDLE
        self.expects_continue = False
        path, query = self._target
        head = Head(
            self._method, path, query, Headers(self._headers), self._version, self._keep_alive
        )
        self.ready.append(Request.of(head, bytes(self._body)))

    def _announces_body(self) -> bool:
        length = self._single.get(b"content-length", b"0")
        return b"transfer-encoding" in self._single or int(length) > 0
