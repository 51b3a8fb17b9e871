"""How a request is addressed and written for a replica. Pure functions."""

from __future__ import annotations

from collections.abc import Set
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote

from modelyard.agent.gateway.known_answers import HOP_BY_HOP
from modelyard_runtime.http.server import Head

_NOT_PASSED_ON = HOP_BY_HOP | {
    b"authorization",
    b"x-forwarded-prefix",
    b"x-modelyard-capture",
    b"x-modelyard-shadow",
    b"x-prediction-id",
    b"x-request-id",
}
_PREFIX = "/services/"
_PLAIN_IN_PATHS = "/:@!$&'()*+,;=~"
CHUNKED = b"transfer-encoding: chunked\r\n"
"""What frames a body whose length is not known."""


class Place(NamedTuple):
    """What a path below `/services/` is the address of."""

    service: str
    prefix: bytes
    """The service's part of the path, escaped."""
    path: bytes
    """The part for its replica, escaped."""


@lru_cache(maxsize=256)
def split_path(path: str) -> Place | None:
    """Take a decoded path apart; None when it is not below `/services/`."""
    if not path.startswith(_PREFIX):
        return None
    name, _, rest = path[len(_PREFIX) :].partition("/")
    return Place(name, _escape(_PREFIX + name), b"/" + _escape(rest))


def encode_head(head: Head, place: Place, without: Set[bytes] = frozenset()) -> bytes:
    """Request line and header fields for a replica, as far as they follow from the client's.

    Fields about the client's connection end here, and so do those named in `without`, and the key:
    a replica never sees it. What frames the body, the request's id and the empty line are still to
    come.
    """
    pairs = head.headers.pairs
    fields = dict(pairs)
    dropped = _NOT_PASSED_ON | without
    if b"connection" in fields:
        dropped |= _nominated(head)
    lines = [_request_line(head.method, place.path, head.query)]
    lines += [b": ".join(pair) for pair in pairs if pair[0] not in dropped]
    if b"host" not in fields:  # HTTP/1.0
        lines.append(b"host: modelyard")
    lines.append(b"x-forwarded-prefix: %b\r\n" % place.prefix)
    return b"\r\n".join(lines)


def length_field(length: int) -> bytes:
    """What frames a body whose length is known, whatever the client's framing was."""
    return b"content-length: %d\r\n" % length


def end_of_head(request_id: bytes) -> bytes:
    """The last field, and the empty line."""
    return b"x-request-id: %b\r\n\r\n" % request_id


@lru_cache(maxsize=256)
def _request_line(method: str, path: bytes, query: str) -> bytes:
    asked = b"?" + query.encode() if query else b""
    return b"%b %b%b HTTP/1.1" % (method.encode(), path, asked)


def _escape(path: str) -> bytes:
    return quote(path, safe=_PLAIN_IN_PATHS).encode()


def _nominated(head: Head) -> set[bytes]:
    """What the client's `Connection` says is for the gateway only; `host` is never that."""
    values = b",".join(head.headers.get_all(b"connection"))
    return {name.strip().lower() for name in values.split(b",")} - {b"host"}
