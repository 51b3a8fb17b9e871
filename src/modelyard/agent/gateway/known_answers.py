"""Reads the usual heads of answers without a parser, line by line, most having been seen before.

As `modelyard_runtime.http.known_heads` does for requests: nothing is said of a head that is not
plain.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from modelyard_runtime.http.known_heads import Memory

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
DROPPED = HOP_BY_HOP | {b"date", b"server", b"x-request-id", b"x-prediction-id"}
"""Fields of an answer that are not passed on."""

_STATUS = re.compile(rb"HTTP/1\.1 ([2-9][0-9]{2})(?: [\t -~]*)?")
_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t -~]*)")
_LENGTH = re.compile(rb"0|[1-9][0-9]{0,14}")
_PECULIAR = frozenset((b"connection", b"proxy-connection", b"transfer-encoding", b"upgrade"))
_BODYLESS = frozenset((204, 304))
_MOST_LINES = 1024
_MOST_STATUSES = 64


class AnswerHead(NamedTuple):
    """The head of an answer whose body has a length, on a connection that stays."""

    status: int
    fields: bytes
    """Those that are passed on, each with its line break."""
    length: int


class KnownAnswers:
    """The lines of plain heads that were met."""

    __slots__ = ("_lines", "_statuses")

    def __init__(self) -> None:
        self._lines: Memory[bytes | int] = Memory(_MOST_LINES)
        """By a line, what it is for the client: itself, nothing, or the length of the body."""
        self._statuses: Memory[int] = Memory(_MOST_STATUSES)

    def find(self, raw: bytes) -> AnswerHead | None:
        """The head that these bytes are, without its empty line; None if it is not plain."""
        start, *lines = raw.split(b"\r\n")
        status = self._statuses.find(start) or self._read_status(start)
        if status is None:
            return None
        recent = self._lines.recent
        fields = []
        length = -1
        for line in lines:
            known = recent.get(line)
            if known is None:
                known = self._lines.find(line)
                if known is None:
                    known = self._read_line(line)
            if isinstance(known, bytes):
                fields.append(known)
            elif known is None or length >= 0:
                return None
            else:
                length = known
        return AnswerHead(status, b"".join(fields), length) if length >= 0 else None

    def _read_status(self, line: bytes) -> int | None:
        match = _STATUS.fullmatch(line)
        if match is None or int(match[1]) in _BODYLESS:
            return None
        status = int(match[1])
        self._statuses.keep(line, status)
        return status

    def _read_line(self, line: bytes) -> bytes | int | None:
        match = _LINE.fullmatch(line)
        if match is None:
            return None
        name, value = match[1].lower(), match[2].strip(b" \t")
        known: bytes | int
        if name in _PECULIAR:
            return None
        if name == b"content-length":
            if not _LENGTH.fullmatch(value):
                return None
            known = int(value)
        else:
            known = b"" if name in DROPPED else b"%b: %b\r\n" % (name, value)
        self._lines.keep(line, known)
        return known
