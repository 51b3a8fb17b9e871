"""What the HTTP server core and its handlers exchange: requests, responses, refusals, limits."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol, overload
from urllib.parse import unquote_to_bytes

import orjson

JSON = (b"content-type", b"application/json")
"""The header that every JSON answer carries."""

_TARGET = re.compile(
    rb"(/(?:[!\"$&->@-\[\]-~]|%[0-9A-Fa-f]{2})*)"  # printable, without # % ? and backslash
    rb"(?:\?((?:[!\"$&-~]|%[0-9A-Fa-f]{2})*))?"  # printable, without # and %
)
_PATH = re.compile(r"[^\x00-\x1f\x7f-\x9f\\%]+")
_PHRASES = {
    200: "OK",
    201: "Created",
    202: "Accepted",
    204: "No Content",
    206: "Partial Content",
    301: "Moved Permanently",
    302: "Found",
    304: "Not Modified",
    307: "Temporary Redirect",
    308: "Permanent Redirect",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    413: "Content Too Large",
    414: "URI Too Long",
    415: "Unsupported Media Type",
    417: "Expectation Failed",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    505: "HTTP Version Not Supported",
    507: "Insufficient Storage",
}
_STATUS_LINES = {
    status: f"HTTP/1.1 {status} {phrase}\r\n".encode() for status, phrase in _PHRASES.items()
}
_HEAD_END = (b"", b"")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class HttpError(Exception):
    """Raised by a handler to answer with a status and `{"message": …}`; the connection stays."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Refused(HttpError):
    """The bytes are not a request that is served here: answered, then the connection is closed."""


@dataclass(slots=True)
class Headers:
    """Header fields in the order they came; names are lower-case bytes."""

    pairs: list[tuple[bytes, bytes]]

    @overload
    def get(self, name: bytes) -> bytes | None: ...
    @overload
    def get(self, name: bytes, default: bytes) -> bytes: ...
    def get(self, name: bytes, default: bytes | None = None) -> bytes | None:
        """The first value of a name (lower-case), or `default`."""
        for key, value in self.pairs:
            if key == name:
                return value
        return default

    def get_all(self, name: bytes) -> list[bytes]:
        """Every value of a name (lower-case), in order."""
        return [value for key, value in self.pairs if key == name]

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)


@dataclass(slots=True)
class Head:
    """The request line and header fields of a request.

    Requests whose heads are the same bytes may share one, on whatever connection they came.
    """

    method: str
    path: str
    """Percent-decoded once; it begins with `/` and holds no control character, `\\` or `%`."""
    query: str
    """What follows `?`, as it came: not decoded, but its escapes are well formed."""
    headers: Headers
    version: str = "1.1"
    """`1.1` or `1.0`."""
    keep_alive: bool = True
    """The client lets the connection live on after the answer."""
    memo: Any = field(default=None, compare=False)
    """Whatever the handler wants to find again with the next request of the same head. It must
    follow from the head alone, and from a version of its surroundings that the handler checks."""


@dataclass(slots=True, init=False)
class Request:
    """One request: its head, shared or not, and its body."""

    head: Head
    body: bytes
    note: Any = field(repr=False, compare=False)
    """Unset at first. Whatever read the body may keep here what it needs again for the answer."""

    def __init__(
        self,
        method: str,
        path: str,
        query: str,
        headers: Headers,
        body: bytes,
        version: str = "1.1",
        keep_alive: bool = True,
    ) -> None:
        self.head = Head(method, path, query, headers, version, keep_alive)
        self.body = body

    @classmethod
    def of(cls, head: Head, body: bytes) -> Request:
        """A request with a head that is there already."""
        request = cls.__new__(cls)
        request.head = head
        request.body = body
        return request

    @property
    def method(self) -> str:
        """As `Head.method`."""
        return self.head.method

    @property
    def path(self) -> str:
        """As `Head.path`."""
        return self.head.path

    @property
    def query(self) -> str:
        """As `Head.query`."""
        return self.head.query

    @property
    def headers(self) -> Headers:
        """As `Head.headers`."""
        return self.head.headers

    @property
    def version(self) -> str:
        """As `Head.version`."""
        return self.head.version

    @property
    def keep_alive(self) -> bool:
        """As `Head.keep_alive`."""
        return self.head.keep_alive


@dataclass(slots=True)
class Response:
    """One whole answer; the server adds `content-length`, `date` and `connection`."""

    status: int
    body: bytes = b""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)


class Receiver(Protocol):
    """Who gets the answer that a `Reply` promises: a connection."""

    def replied(self, response: Response) -> None:
        """The answer is there."""


class Reply:
    """An answer that comes later: what a handler returns when it has no `Response` yet.

    Meant to be subclassed by whatever keeps track of a request in flight, so that one object does.
    It belongs to the event loop of the server: other threads use `call_soon_threadsafe`.

    Attributes:
        settled: There is an answer, or nobody waits for one any more.
        abandoned: The client has gone before the answer was there.
    """

    __slots__ = ("_early", "_receiver", "abandoned", "settled")

    def __init__(self) -> None:
        self.settled = self.abandoned = False
        self._receiver: Receiver | None = None
        self._early: Response | None = None

    def send(self, response: Response) -> None:
        """Answer. The first answer counts; another one, or one too late, is thrown away."""
        if self.settled:
            return
        self.settled = True
        if self._receiver is None:
            self._early = response
        else:
            self._receiver.replied(response)

    def abandon(self) -> None:
        """Nobody waits for the answer any more: a subclass may stop working for it."""

    def promise_to(self, receiver: Receiver) -> Response | None:
        """Whom to send the answer to, unless it is there: then it is returned. For servers."""
        self._receiver = receiver
        return self._early

    def forsake(self) -> None:
        """The client has gone, so that nothing is sent any more. For servers."""
        if not self.settled:
            self.settled = self.abandoned = True
            self.abandon()


@dataclass(frozen=True, slots=True)
class Limits:
    """What one server takes from a client; times in seconds, sizes in bytes."""

    header_count: int = 100
    """Header fields of one request; more gives 431."""
    header_bytes: int = 32 << 10
    """Names and values of all header fields of one request together; more gives 431."""
    url_bytes: int = 8 << 10
    """Length of the request target; more gives 414."""
    body_bytes: int = 100 << 20
    """Length of a body; more gives 413, before it is read when its length is announced."""
    header_time: float = 10.0
    """From connecting, or from a request's first byte, to the end of its headers; then 408."""
    body_time: float = 60.0
    """From the end of the headers to the end of the body; then 408. Also what a client may take to
    read an answer that no buffer holds; then the connection is cut."""
    idle_time: float = 75.0
    """Between an answer and the next request; then the connection is closed."""
    connections: int = 1024
    """Open connections; more wait in the listening socket's queue."""


def error_response(status: int, message: str) -> Response:
    """An error the way every error is answered: `{"message": …}`."""
    return Response(status, orjson.dumps({"message": message}), [JSON])


@lru_cache(maxsize=512)
def split_target(target: bytes) -> tuple[str, str]:
    """Decode a request target once into path and query.

    Raises:
        Refused: 400, when it is not a path on this server or has a malformed escape.
    """
    match = _TARGET.fullmatch(target)
    if match is None:
        raise Refused(400, "The request target must be a path with valid percent-escapes.")
    try:
        path = unquote_to_bytes(match[1]).decode()
    except UnicodeDecodeError:
        raise Refused(400, "The path is not UTF-8 after decoding its escapes.") from None
    if not _PATH.fullmatch(path):
        raise Refused(400, "The path holds a character that is not allowed.")
    if "/." in path and {".", ".."} & set(path.split("/")):
        raise Refused(400, "The path must not hold `.` or `..` as a segment.")
    return path, (match[2] or b"").decode()


def date_field(seconds: float) -> bytes:
    """The header `date` for a time in seconds since 1970, whatever the locale."""
    at = time.gmtime(seconds)
    day = f"{_DAYS[at.tm_wday]}, {at.tm_mday:02} {_MONTHS[at.tm_mon - 1]} {at.tm_year}"
    return f"date: {day} {at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02} GMT\r\n".encode()


def encode_head(
    response: Response, date: bytes, keep_alive: bool = False, version: str = "1.1"
) -> bytes:
    """The status line and header fields of a response, up to and with the empty line.

    `date` is a whole field with its line break; `version` is that of the request.

    Raises:
        ValueError: A header field holds a line break: it would forge fields or a whole response.
    """
    status = response.status
    lines = list(map(b": ".join, response.headers))
    if status != 204:
        lines.append(b"content-length: %d" % len(response.body))
    if not keep_alive:
        lines.append(b"connection: close")
    elif version == "1.0":
        lines.append(b"connection: keep-alive")
    lines += _HEAD_END
    head = b"\r\n".join(lines)
    breaks = len(lines) - 1
    if head.count(b"\n") != breaks or head.count(b"\r") != breaks or b"\0" in head:
        raise ValueError("a header field of the response holds a line break")
    return (_STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status) + date + head
