"""How a request is addressed and written for a replica. Pure functions."""

from __future__ import annotations

from collections.abc import Set
from functools import lru_cache
from urllib.parse import quote

from modelyard.agent.gateway.reader import HOP_BY_HOP
from modelyard_runtime.http import Request

_NOT_PASSED_ON = HOP_BY_HOP | {b"authorization", b"x-request-id"}
_PREFIX = "/services/"
_PLAIN_IN_PATHS = "/:@!$&'()*+,;=~"
_USUAL_CONNECTION = frozenset((b"keep-alive", b"close"))


@lru_cache(maxsize=4096)
def split_path(path: str) -> tuple[str, bytes] | None:
    """The service's name and the path at its replica, escaped again; None for other paths."""
    if not path.startswith(_PREFIX):
        return None
    name, _, rest = path[len(_PREFIX) :].partition("/")
    return name, b"/" + quote(rest, safe=_PLAIN_IN_PATHS).encode()


def encode_request(
    request: Request, fields: dict[bytes, bytes], path: bytes, request_id: bytes
) -> bytes:
    """Request line and header fields for a replica, with one length whatever the client's framing.

    Fields about the client's connection end here, and so does the key: a replica never sees it.
    `fields` are the request's own, by name.
    """
    dropped: Set[bytes] = _NOT_PASSED_ON
    if fields.get(b"connection", b"keep-alive").lower() not in _USUAL_CONNECTION:
        dropped = dropped | _nominated(request)
    query = b"?" + request.query.encode() if request.query else b""
    lines = [b"%b %b%b HTTP/1.1" % (request.method.encode(), path, query)]
    lines += [b": ".join(pair) for pair in request.headers.pairs if pair[0] not in dropped]
    if b"host" not in fields:  # HTTP/1.0
        lines.append(b"host: modelyard")
    lines.append(b"x-request-id: %b" % request_id)
    lines.append(b"content-length: %d\r\n\r\n" % len(request.body))
    return b"\r\n".join(lines)


def _nominated(request: Request) -> set[bytes]:
    """What the client's `Connection` says is for the gateway only; `host` is never that."""
    values = b",".join(request.headers.get_all(b"connection"))
    return {name.strip().lower() for name in values.split(b",")} - {b"host"}
