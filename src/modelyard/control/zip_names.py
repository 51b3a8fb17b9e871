"""What is inside a zip archive, from its directory alone; bounded in time and memory.

Called by `control.formats` and `control.pickles`. The archive may be hostile: nothing is unpacked,
no length is believed.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

MAGIC = b"PK\x03\x04"

_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_64 = struct.Struct("<4sLQL")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_LONGEST_COMMENT = 0xFFFF
_MOST_DIRECTORY = 1 << 20


class Member(NamedTuple):
    """One file of an archive, as the directory has it."""

    name: str
    method: int
    """0: as it is; 8: deflated."""
    packed: int
    """Bytes in the archive."""
    at: int
    """Where its own header begins."""


def names(size: int, read: Callable[[int, int], bytes]) -> list[str]:
    """The names of an archive of `size` bytes; empty when it has no readable directory."""
    return [member.name for member in members(size, read)]


def content_at(member: Member, read: Callable[[int, int], bytes]) -> int:
    """Where the bytes of a member begin."""
    header = read(member.at, _LOCAL.size)
    if len(header) < _LOCAL.size:
        return member.at
    name, extra = _LOCAL.unpack(header)[-2:]
    return member.at + _LOCAL.size + int(name) + int(extra)


def members(size: int, read: Callable[[int, int], bytes]) -> list[Member]:
    """The files of an archive of `size` bytes; none when it has no readable directory.

    `read(offset, length)` gives bytes of the archive. At most 1 MiB of directory is looked at.
    """
    tail_at = max(0, size - _LONGEST_COMMENT - _END.size)
    tail = read(tail_at, size - tail_at)
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or len(tail) - end < _END.size:
        return []
    _, _, _, _, _, length, offset, _ = _END.unpack_from(tail, end)
    if offset == 0xFFFF_FFFF or length == 0xFFFF_FFFF:
        length, offset = _large(size, read, tail_at + end)
    if not 0 <= offset <= size:
        return []
    return _entries(read(offset, min(length, size - offset, _MOST_DIRECTORY)))


def _large(size: int, read: Callable[[int, int], bytes], end: int) -> tuple[int, int]:
    """Length and place of the directory of an archive above 4 GiB."""
    locator = read(max(0, end - _LOCATOR_64.size), _LOCATOR_64.size)
    if len(locator) < _LOCATOR_64.size or not locator.startswith(b"PK\x06\x07"):
        return 0, 0
    place = _LOCATOR_64.unpack(locator)[2]
    if place > size - _END_64.size:
        return 0, 0
    record = read(place, _END_64.size)
    if len(record) < _END_64.size or not record.startswith(b"PK\x06\x06"):
        return 0, 0
    length, offset = _END_64.unpack(record)[-2:]
    return length, offset


def _entries(directory: bytes) -> list[Member]:
    found = []
    place = 0
    while len(directory) - place >= _ENTRY.size and directory.startswith(b"PK\x01\x02", place):
        fields = _ENTRY.unpack_from(directory, place)
        name, extra, comment = fields[10:13]
        begin = place + _ENTRY.size
        text = directory[begin : begin + name].decode("utf-8", "replace")
        found.append(Member(name=text, method=fields[4], packed=fields[8], at=fields[-1]))
        place = begin + name + extra + comment
    return found
