"""The names inside a zip archive, from its directory alone; bounded in time and memory.

Called by `control.formats`. The archive may be hostile: nothing is unpacked, no length is believed.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

MAGIC = b"PK\x03\x04"

_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_64 = struct.Struct("<4sLQL")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LONGEST_COMMENT = 0xFFFF
_MOST_DIRECTORY = 1 << 20


def names(size: int, read: Callable[[int, int], bytes]) -> list[str]:
    """The names of an archive of `size` bytes; empty when it has no readable directory.

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


def _entries(directory: bytes) -> list[str]:
    found = []
    place = 0
    while len(directory) - place >= _ENTRY.size and directory.startswith(b"PK\x01\x02", place):
        fields = _ENTRY.unpack_from(directory, place)
        name, extra, comment = fields[10:13]
        begin = place + _ENTRY.size
        found.append(directory[begin : begin + name].decode("utf-8", "replace"))
        place = begin + name + extra + comment
    return found
