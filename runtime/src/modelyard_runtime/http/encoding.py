"""Writes the bytes of an answer. Pure functions."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import lru_cache

from modelyard_runtime.http.messages import Field, Response

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
"""Lets a client that waits for it send its body."""
LAST_CHUNK = b"0\r\n\r\n"
"""Ends a body that is sent in chunks."""
CHUNKED = b"transfer-encoding: chunked\r\n"
"""The field that announces one."""

BODYLESS = frozenset((204, 304))
"""Statuses of answers that end with their head."""

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
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def date_field(seconds: float) -> bytes:
    """The header `date` for a time in seconds since 1970, whatever the locale."""
    at = time.gmtime(seconds)
    day = f"{_DAYS[at.tm_wday]}, {at.tm_mday:02} {_MONTHS[at.tm_mon - 1]} {at.tm_year}"
    return f"date: {day} {at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02} GMT\r\n".encode()


def persistence(keep_alive: bool, version: str) -> bytes:
    """The field that says whether the connection stays, if it must be said to this version."""
    if not keep_alive:
        return b"connection: close\r\n"
    return b"" if version == "1.1" else b"connection: keep-alive\r\n"


def framing(status: int, length: int | None) -> bytes:
    """The field that says where a body ends, chunks being the way when its length is not known."""
    if status == 204:
        return b""
    return CHUNKED if length is None else length_field(length)


@lru_cache(maxsize=4096)
def length_field(length: int) -> bytes:
    """The header `content-length`."""
    return b"content-length: %d\r\n" % length


def encode_head(response: Response, date: bytes, framed: bytes) -> bytes:
    """The status line and header fields of a response, up to and with the empty line.

    Args:
        response: Its status and headers.
        date: The field `date`, with its line break.
        framed: As `framing` and `persistence` return.

    Raises:
        ValueError: A header field holds a line break: it would forge fields or a whole response.
    """
    status, headers = response.status, response.headers
    line = _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status
    if not headers:
        return b"".join((line, date, framed, response.encoded, b"\r\n"))
    fields = _only_field(headers[0]) if len(headers) == 1 else encode_fields(headers)
    return b"".join((line, date, framed, response.encoded, fields, b"\r\n"))


def encode_fields(headers: Sequence[Field]) -> bytes:
    """Header fields as they are written, each with its line break.

    Raises:
        ValueError: One of them holds a line break: it would forge fields or a whole response.
    """
    fields = b"".join([b"%b: %b\r\n" % field for field in headers])
    breaks = len(headers)
    if fields.count(b"\n") != breaks or fields.count(b"\r") != breaks or b"\0" in fields:
        raise ValueError("a header field of the response holds a line break")
    return fields


def written_fields(encoded: bytes) -> list[Field]:
    """The fields that `encode_fields` wrote."""
    pairs = (line.partition(b": ") for line in encoded.split(b"\r\n")[:-1])
    return [(name, value) for name, _, value in pairs]


@lru_cache(maxsize=256)
def _only_field(header: Field) -> bytes:
    """Most answers say what type they are, and no more."""
    return encode_fields((header,))
