"""Reads the usual heads of requests without a parser, and remembers them. No I/O.

A head of which every line is of the plainest kind is taken apart here, most lines having been seen
before. Of all others nothing is said: the parser reads them, or refuses them. What is read here is
what the parser would have read.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Generic, TypeVar

from modelyard_runtime.http.heads import is_host, split_target
from modelyard_runtime.http.messages import Field, Head, Headers, Limits, Refused

T = TypeVar("T")

_START = re.compile(rb"(DELETE|GET|HEAD|OPTIONS|PATCH|POST|PUT) (/[!-~]*) HTTP/1\.1")
_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t -~]*)")
_LENGTH = re.compile(rb"0|[1-9][0-9]{0,14}")
_PECULIAR = frozenset(
    (b"content-encoding", b"expect", b"proxy-connection", b"transfer-encoding", b"upgrade")
)
"""Fields that change how a request is read."""
_FRAMING = frozenset((b"content-length", b"host"))

_MOST_HEADS = 256
_MOST_LINES = 1024
_MOST_BYTES = 256 << 10
_LONGEST = 4 << 10


class Memory(Generic[T]):
    """What bytes mean, for a bounded number of them.

    Two generations: what is met again in the older one moves to the younger; when that is full,
    the rest of the older one is forgotten. So what is in use stays.
    """

    __slots__ = ("_most", "_older", "_size", "recent")

    def __init__(self, most: int) -> None:
        self.recent: dict[bytes, T] = {}
        """The younger generation, to look into first."""
        self._older: dict[bytes, T] = {}
        self._most = most
        self._size = 0

    def find(self, key: bytes) -> T | None:
        """What is remembered of these bytes."""
        found = self.recent.get(key)
        if found is None:
            found = self._older.pop(key, None)
            if found is not None:
                self.keep(key, found)
        return found

    def keep(self, key: bytes, value: T) -> None:
        """Remember it, unless it is too long."""
        size = len(key)
        if size > _LONGEST:
            return
        if len(self.recent) >= self._most or self._size + size > _MOST_BYTES:
            self._older = self.recent
            self.recent = {}
            self._size = 0
        self.recent[key] = value
        self._size += size


class KnownHeads:
    """The plain heads that one server has met: the same bytes give the same object.

    Args:
        limits: Those of the server. A head that may be beyond them is not plain.
        wants_stream: Heads of requests whose body is to be streamed are not plain.
    """

    __slots__ = ("_limits", "_lines", "_starts", "_wants_stream", "heads")

    def __init__(self, limits: Limits, wants_stream: Callable[[Head], bool] | None = None) -> None:
        self._limits = limits
        self._wants_stream = wants_stream
        self.heads: Memory[Head] = Memory(_MOST_HEADS)
        """Those met lately: to look into `heads.recent` first is faster than `find`."""
        self._starts: Memory[tuple[str, str, str]] = Memory(_MOST_HEADS)
        self._lines: Memory[Field] = Memory(_MOST_LINES)

    def find(self, raw: bytes) -> Head | None:
        """The head that these bytes are, without the empty line; None if it is not plain.

        A plain head is followed by a body of its length, which is gathered, and then by the next
        request on the same connection.
        """
        return self.heads.find(raw) or self._read(raw)

    def _read(self, raw: bytes) -> Head | None:
        if len(raw) > self._limits.header_bytes:
            return None
        lines = raw.split(b"\r\n")
        start = self._starts.find(lines[0]) or self._read_start(lines[0])
        if start is None:
            return None
        fields, are_known = self._read_fields(lines[1:])
        length = self._read_framing(fields) if fields else None
        if length is None:
            return None
        usual = start[0] != "HEAD"
        head = Head(*start, Headers(fields), length=length, usual=usual)
        if self._wants_stream is not None and self._wants_stream(head):
            return None
        if are_known:  # otherwise it may be one of many that no other is like, as with a trace's id
            self.heads.keep(raw, head)
        return head

    def _read_start(self, line: bytes) -> tuple[str, str, str] | None:
        match = _START.fullmatch(line)
        if match is None or len(match[2]) > self._limits.url_bytes:
            return None
        try:
            path, query = split_target(match[2])
        except Refused:
            return None
        start = match[1].decode(), path, query
        self._starts.keep(line, start)
        return start

    def _read_fields(self, lines: list[bytes]) -> tuple[list[Field], bool]:
        """The fields, none when one of them is not plain; and whether all were known."""
        if len(lines) > self._limits.header_count:
            return [], False
        fields = []
        are_known = True
        recent = self._lines.recent
        for line in lines:
            field = recent.get(line) or self._lines.find(line)
            if field is None:
                are_known = False
                field = self._read_line(line)
                if field is None:
                    return [], False
            fields.append(field)
        return fields, are_known

    def _read_line(self, line: bytes) -> Field | None:
        match = _LINE.fullmatch(line)
        if match is None:
            return None
        name, value = match[1].lower(), match[2].strip(b" \t")
        if name in _PECULIAR or (name == b"connection" and value.lower() != b"keep-alive"):
            return None
        if name == b"content-length" and not _LENGTH.fullmatch(value):
            return None
        if name == b"host" and not is_host(value):
            return None
        field = (name, value)
        self._lines.keep(line, field)
        return field

    def _read_framing(self, fields: list[Field]) -> int | None:
        """The length of the body; None when it is not plain, or too long."""
        single = dict(fields)
        if len(single) < len(fields) and _repeats_framing(fields):
            return None
        if b"host" not in single:
            return None
        length = int(single.get(b"content-length", b"0"))
        return length if length <= self._limits.body_bytes else None


def _repeats_framing(fields: list[Field]) -> bool:
    names = [name for name, _ in fields]
    return any(names.count(name) > 1 for name in _FRAMING)
