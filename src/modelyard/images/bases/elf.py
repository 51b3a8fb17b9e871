"""Reads from a program or a shared library what it needs from others.

Only what a loader would look at, and only by reading: `ldd` runs what it is asked about. Files of
64 bits in little-endian order, for amd64 and arm64 have no others. Called by `host`, which looks
the names up.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from modelyard.errors import IntegrityError

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_ENTRY = struct.Struct("<qQ")
_LOAD, _DYNAMIC, _INTERPRETER = 1, 2, 3
_NEEDED, _STRINGS, _RPATH, _RUNPATH = 1, 5, 15, 29
_END = 0
_LONGEST_TEXT = 4096
ELF_64 = b"\x7fELF\x02\x01"
"""How such a file begins."""
MACHINES = {62: "amd64", 183: "arm64"}
"""Architectures by the number that a header has for them."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a program or library wants from its loader."""

    architecture: str
    """`amd64`, `arm64`, or the number of another machine."""
    loader: str | None
    """Absolute path of the program loader; null for a library."""
    libraries: tuple[str, ...]
    """Names of shared libraries."""
    folders: tuple[str, ...]
    """Where it wants them to be looked for first; `$ORIGIN` is its own folder."""


@dataclass(frozen=True, slots=True)
class _Segment:
    kind: int
    offset: int
    address: int
    size: int


def needs_of(path: Path) -> Needs:
    """What a program or a library needs.

    Raises:
        IntegrityError: It is none, one of 32 bits, or damaged.
    """
    with path.open("rb") as file:
        try:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError as error:
            raise IntegrityError(f"`{path}` is empty") from error
        with content:
            return read_needs(content)


def read_needs(content: bytes | mmap.mmap) -> Needs:
    """What the program or library with this content needs.

    Raises:
        IntegrityError: It is none, one of 32 bits, or damaged.
    """
    try:
        return _read(content)
    except (struct.error, ValueError, OverflowError) as error:
        raise IntegrityError("not a 64-bit, little-endian ELF file") from error


def _read(content: bytes | mmap.mmap) -> Needs:
    header = _HEADER.unpack_from(content)
    if header[0][:6] != ELF_64:
        raise ValueError
    segments = list(_segments(content, header[5], header[9], header[10]))
    loader = next((segment for segment in segments if segment.kind == _INTERPRETER), None)
    entries = list(_dynamic(content, segments))
    strings = next((value for tag, value in entries if tag == _STRINGS), 0)
    start = _file_offset(segments, strings) if strings else 0

    def texts(*tags: int) -> tuple[str, ...]:
        return tuple(_text(content, start + value) for tag, value in entries if tag in tags)

    return Needs(
        architecture=MACHINES.get(header[2], str(header[2])),
        loader=None if loader is None else _text(content, loader.offset),
        libraries=texts(_NEEDED),
        folders=tuple(
            folder for text in texts(_RPATH, _RUNPATH) for folder in text.split(":") if folder
        ),
    )


def _segments(
    content: bytes | mmap.mmap, offset: int, size: int, number: int
) -> Iterator[_Segment]:
    for index in range(number):
        kind, _, place, address, _, length, _, _ = _SEGMENT.unpack_from(
            content, offset + index * size
        )
        yield _Segment(kind, place, address, length)


def _dynamic(content: bytes | mmap.mmap, segments: list[_Segment]) -> Iterator[tuple[int, int]]:
    for segment in segments:
        if segment.kind != _DYNAMIC:
            continue
        for offset in range(segment.offset, segment.offset + segment.size, _ENTRY.size):
            tag, value = _ENTRY.unpack_from(content, offset)
            if tag == _END:
                return
            yield tag, value


def _file_offset(segments: list[_Segment], address: int) -> int:
    for segment in segments:
        if segment.kind == _LOAD and 0 <= address - segment.address < segment.size:
            return segment.offset + address - segment.address
    raise ValueError


def _text(content: bytes | mmap.mmap, offset: int) -> str:
    end = content.find(b"\0", offset)
    if end < 0 or end - offset > _LONGEST_TEXT:
        raise ValueError
    return content[offset:end].decode()
