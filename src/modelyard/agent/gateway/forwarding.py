"""How a request is addressed and written for a replica. Pure functions."""

from __future__ import annotations

from collections.abc import Set
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote

from modelyard.agent.gateway.reader import HOP_BY_HOP
from modelyard_runtime.http import Request

_NOT_PASSED_ON = HOP_BY_HOP | {b"authorization", b"x-forwarded-prefix", b"x-request-id"}
_PREFIX = "/services/"
_PLAIN_IN_PATHS = "/:@!$&'()*+,;=~"
_USUAL_CONNECTION = frozenset((b"keep-alive", b"close"))


class Place(NamedTuple):
    """What a path below `/services/` is the address of."""

    service: str
    prefix: bytes
    """The service's part of the path, escaped."""
    path: bytes
    """The part for its replica, escaped."""


@lru_cache(maxsize=4096)
def split_path(path: str) -> Place | None:
    """Take a decoded path apart; None when it is not below `/services/`."""
    if not path.startswith(_PREFIX):
        return None
    name, _, rest = path[len(_PREFIX) :].partition("/")
    return Place(name, _escape(_PREFIX + name), b"/" + _escape(rest))


def encode_request(
    request: Request, fields: dict[bytes, bytes], place: Place, request_id: bytes
) -> bytes:
    """Request line and header fields for a replica, with one length whatever the client's framing.

    Fields about the client's connection end here, and so does the key: a replica never sees it.
    `fields` are the request's own, by name.
    """
    dropped: Set[bytes] = _NOT_PASSED_ON
    if fields.get(b"connection", b"keep-alive").lower() not in _USUAL_CONNECTION:
        dropped = dropped | _nominated(request)
    query = b"?" + request.query.encode() if request.query else b""
    lines = [b"%b %b%b HTTP/1.1" % (request.method.encode(), place.path, query)]
    lines += [b": ".join(pair) for pair in request.headers.pairs if pair[0] not in dropped]
    if b"host" not in fields:  # HTTP/1.0
        lines.append(b"host: modelyard")
    added = b"x-forwarded-prefix: %b\r\nx-request-id: %b\r\ncontent-length: %d\r\n\r\n"
    lines.append(added % (place.prefix, request_id, len(request.body)))
    return b"\r\n".join(lines)


def _escape(path: str) -> bytes:
    return quote(path, safe=_PLAIN_IN_PATHS).encode()


def _nominated(request: Request) -> set[bytes]:
    """What the client's `Connection` says is for the gateway only; `host` is never that."""
    values = b",".join(request.headers.get_all(b"connection"))
    return {name.strip().lower() for name in values.split(b",")} - {b"host"}
