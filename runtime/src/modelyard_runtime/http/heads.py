"""Checks the heads of requests. Pure functions."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from modelyard_runtime.http.messages import Field, Head, Headers, Limits, Refused

_TARGET = re.compile(
    rb"(/(?:[!\"$&->@-\[\]-~]|%[0-9A-Fa-f]{2})*)"  # printable, without # % ? and backslash
    rb"(?:\?((?:[!\"$&-~]|%[0-9A-Fa-f]{2})*))?"  # printable, without # and %
)
_PATH = re.compile(r"[^\x00-\x1f\x7f-\x9f\\%]+")
_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=:\[\]-]+")
_SINGLE = frozenset({b"host", b"content-length", b"transfer-encoding", b"expect"})
"""Fields that decide where a request ends and whom it is for: two of one kind are refused."""
_CODINGS = {
    b"": b"",
    b"identity": b"",
    b"gzip": b"gzip",
    b"x-gzip": b"gzip",
    b"deflate": b"deflate",
}
_INFLATED = (b"content-encoding", b"content-length")
_ACCEPTED = (b"accept-encoding", b"gzip, deflate")


def read_head(
    method: str,
    target: bytes,
    fields: list[Field],
    version: str,
    keep_alive: bool,
    limits: Limits,
    inflates: bool,
) -> Head:
    """Everything about a request that can be known, and refused, before its body is.

    Args:
        fields: Names in lower case, values without white space around.
        inflates: Bodies with a content coding are to be inflated.

    Raises:
        Refused: It is malformed or beyond a limit.
    """
    path, query = split_target(target)
    single = _check_fields(fields, limits)
    _check_host(single.get(b"host"), version)
    length = _length(single, version, limits)
    expects = _expects_continue(single.get(b"expect"), version)
    coding = _coding(fields) if inflates else b""
    if coding:
        fields = [field for field in fields if field[0] not in _INFLATED]
    headers = Headers(fields)
    return Head(method, path, query, headers, version, keep_alive, length, expects, coding)


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


def headers_too_long(limits: Limits) -> Refused:
    """What is said when header fields are beyond their limit."""
    return Refused(431, f"The headers are longer than {limits.header_bytes} bytes.")


def body_too_long(limits: Limits) -> Refused:
    """What is said when a body is beyond its limit, announced or not, inflated or not."""
    return Refused(413, f"The body is longer than {limits.body_bytes} bytes.")


def is_host(value: bytes) -> bool:
    """Whether a header `host` may be this."""
    return _HOST.fullmatch(value) is not None


def _check_fields(fields: list[Field], limits: Limits) -> dict[bytes, bytes]:
    """The fields of which there must be one at most."""
    single: dict[bytes, bytes] = {}
    size = 0
    for name, value in fields:
        size += len(name) + len(value)
        if name in _SINGLE:
            if name in single:
                raise Refused(400, f"The header `{name.decode()}` is given more than once.")
            single[name] = value
    if size > limits.header_bytes:
        raise headers_too_long(limits)
    if len(fields) > limits.header_count:
        raise Refused(431, f"There are more than {limits.header_count} headers.")
    return single


def _check_host(host: bytes | None, version: str) -> None:
    if version not in ("1.1", "1.0"):
        raise Refused(505, f"HTTP/{version} is not served here; use HTTP/1.1.")
    if host is None:
        if version == "1.1":
            raise Refused(400, "The header `host` is missing.")
    elif not is_host(host):
        raise Refused(400, "The header `host` is not a host name.")


def _length(single: dict[bytes, bytes], version: str, limits: Limits) -> int | None:
    length = single.get(b"content-length")
    coding = single.get(b"transfer-encoding")
    if length is not None and not length.isdigit():
        raise Refused(400, "The header `content-length` is not a number.")
    if coding is not None:
        if length is not None or version == "1.0" or coding.lower() != b"chunked":
            raise Refused(400, "Only `transfer-encoding: chunked` without a length is served.")
        return None
    announced = int(length or b"0")
    if announced > limits.body_bytes:
        raise body_too_long(limits)
    return announced


def _expects_continue(expect: bytes | None, version: str) -> bool:
    if expect is None or version != "1.1":
        return False
    if expect.lower() != b"100-continue":
        raise Refused(417, "Only `expect: 100-continue` is served.")
    return True


def _coding(fields: list[Field]) -> bytes:
    named = b",".join([value for name, value in fields if name == b"content-encoding"])
    coding = _CODINGS.get(named.strip().lower())
    if coding is None:
        raise Refused(415, "The header `content-encoding` may be `gzip` or `deflate`.", _ACCEPTED)
    return coding
