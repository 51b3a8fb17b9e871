"""What the HTTP server core and its handlers exchange: requests, responses, refusals, limits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, overload

import orjson

JSON = (b"content-type", b"application/json")
"""The header that every JSON answer carries."""

Field = tuple[bytes, bytes]
"""One header field: its name in lower case, and its value."""


@dataclass(slots=True)
class Headers:
    """Header fields in the order they came; names are lower-case bytes."""

    pairs: list[Field]

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

    def __iter__(self) -> Iterator[Field]:
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
    length: int | None = 0
    """Bytes of the body as it is sent; None when it comes in chunks."""
    expects_continue: bool = False
    """The client waits for `100 Continue` before it sends the body."""
    coding: bytes = b""
    """`gzip` or `deflate` when the server inflates the body; those headers are left out then."""
    usual: bool = field(default=False, compare=False)
    """The answer needs no thought: it has a body, and the connection stays."""
    memo: Any = field(default=None, compare=False)
    """Whatever the handler wants to find again with the next request of the same head. It must
    follow from the head alone, and from a version of its surroundings that the handler checks."""


@dataclass(slots=True)
class Peer:
    """Who a client is by the certificate that it has shown, and that was checked at the start."""

    subject: dict[str, str]
    """By the names that OpenSSL gives the parts, such as `commonName`."""
    names: tuple[tuple[str, str], ...]
    """Alternative names: kind, such as `DNS` or `URI`, and name."""
    certificate: bytes
    """The certificate itself, as DER."""
    memo: Any = field(default=None, repr=False, compare=False)
    """Whatever the handler wants to find again with the next request of the connection."""


@dataclass(slots=True, init=False)
class Request:
    """One request: its head, shared or not, and its body."""

    head: Head
    body: bytes
    """Empty when there is a `stream`."""
    stream: AsyncIterator[bytes] | None
    """The body as it comes, if the server was told to stream it. Raises `HttpError` when the body
    turns out to be malformed or too long, or ends early: the server has answered that already."""
    peer: Peer | None
    """None without TLS, or when the client was not asked for a certificate."""
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
        self.stream = self.peer = None

    @classmethod
    def of(
        cls, head: Head, body: bytes = b"", stream: AsyncIterator[bytes] | None = None
    ) -> Request:
        """A request with a head that is there already."""
        request = cls.__new__(cls)
        request.head = head
        request.body = body
        request.stream = stream
        request.peer = None
        return request

    @property
    def view(self) -> memoryview:
        """The body, to be read only. For a long one it costs less than `body`."""
        return memoryview(self.body)

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


class LongRequest(Request):
    """A request with a long body, of which the server lends a view; `body` is a copy."""

    __slots__ = ("_copy", "_view")

    _copy: bytes | None
    _view: memoryview

    @classmethod
    def lending(cls, head: Head, view: memoryview) -> LongRequest:
        """A request with this body."""
        request = cls.__new__(cls)
        request.head = head
        request.stream = request.peer = request._copy = None
        request._view = view
        return request

    @property
    def body(self) -> bytes:  # type: ignore[override]
        """The whole body, copied once."""
        if self._copy is None:
            self._copy = bytes(self._view)
        return self._copy

    @property
    def view(self) -> memoryview:
        """The body, to be read only."""
        return self._view


@dataclass(slots=True)
class Response:
    """One answer; the server adds what frames it, `date` and `connection`."""

    status: int
    body: bytes | AsyncIterator[bytes] = b""
    """Whole, or as it is made: then each part is sent at once, and the next one is asked for when
    the client has taken enough. It is closed (`aclose`) when the client goes; when it raises, the
    connection is cut, so that the client never takes a part for the whole."""
    headers: list[Field] = field(default_factory=list)
    length: int | None = None
    """Bytes that an iterator is going to give, if they are known; else they are sent in chunks. Of
    an answer to HEAD, what it says if that is not the length of its body."""
    encoded: bytes = b""
    """More headers, as they are to be written, each with its line break. Nobody checks them."""


class HttpError(Exception):
    """Raised by a handler to answer with a status and `{"message": …}`; the connection stays."""

    def __init__(self, status: int, message: str, *headers: Field) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers

    def response(self) -> Response:
        """The answer."""
        return error_response(self.status, self.message, *self.headers)


class Refused(HttpError):
    """The bytes are not a request that is served here: answered, then the connection is closed."""


class NotAdmitted(Refused):
    """The request is well formed, and `admit` has answered it with something of its own."""

    def __init__(self, answer: Response) -> None:
        super().__init__(answer.status, "")
        self._answer = answer

    def response(self) -> Response:
        """The answer."""
        return self._answer


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
    """Length of a body, both as it is sent and inflated; more gives 413, before it is read when its
    length is announced."""
    bodies_bytes: int = 512 << 20
    """All bodies together that are here at once, inflated; more gives 503. Those of up to 16 KiB do
    not count, and of one that is streamed only what is kept. A single body always has room."""
    header_time: float = 10.0
    """From connecting, or from a request's first byte, to the end of its headers; then 408."""
    body_time: float = 60.0
    """From the end of the headers to the end of the body; then 408. Time in which a handler takes
    no more of a streamed body does not count."""
    least_rate: float = 1000.0
    """Bytes a second that a client must send of a body, else 408; or take of an answer that waits
    for it here, else the connection is cut."""
    stall_time: float = 20.0
    """Over which that is measured, again and again: so long a client may stop."""
    idle_time: float = 75.0
    """Between an answer and the next request; then the connection is closed."""
    handshake_time: float = 10.0
    """For the TLS handshake; then the connection is cut."""
    connections: int = 1024
    """Open connections; more wait in the listening socket's queue."""


def error_response(status: int, message: str, *headers: Field) -> Response:
    """An error the way every error is answered: `{"message": …}`."""
    return Response(status, orjson.dumps({"message": message}), [JSON, *headers])
