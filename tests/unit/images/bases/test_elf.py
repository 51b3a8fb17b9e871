"""Reading what a program or a library needs, from files that may say anything."""

from __future__ import annotations

import contextlib
import random
import struct
import sys
from pathlib import Path

import pytest

from modelyard.errors import IntegrityError
from modelyard.images.bases.elf import Needs, needs_of, read_needs

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_ENTRY = struct.Struct("<qQ")


def make_elf(
    libraries: tuple[str, ...] = ("libc.so.6", "libm.so.6"),
    run_path: str = "$ORIGIN/../lib:/opt/lib",
    loader: str = "/lib64/ld-linux-x86-64.so.2",
    machine: int = 62,
) -> bytes:
    """The parts of a program that its loader reads, at addresses that are not offsets."""
    strings, entries = b"\0", b""
    for tag, text in [*((1, name) for name in libraries), (29, run_path)]:
        entries += _ENTRY.pack(tag, len(strings))
        strings += text.encode() + b"\0"
    start = _HEADER.size + 3 * _SEGMENT.size
    named = loader.encode() + b"\0"
    table = start + len(named)
    dynamic = table + len(strings)
    entries += _ENTRY.pack(5, 0x400000 + table) + _ENTRY.pack(0, 0)
    segments = [
        (1, 0, 0x400000, dynamic + len(entries)),
        (3, start, 0x400000 + start, len(named)),
        (2, dynamic, 0x400000 + dynamic, len(entries)),
    ]
    head = _HEADER.pack(
        b"\x7fELF\x02\x01\x01", 2, machine, 1, 0, _HEADER.size, 0, 0, 64, _SEGMENT.size, 3, 0, 0, 0
    )
    for kind, offset, address, size in segments:
        head += _SEGMENT.pack(kind, 4, offset, address, address, size, size, 8)
    return head + named + strings + entries


def test_a_program_names_its_loader_its_libraries_and_where_they_are() -> None:
    assert read_needs(make_elf()) == Needs(
        architecture="amd64",
        loader="/lib64/ld-linux-x86-64.so.2",
        libraries=("libc.so.6", "libm.so.6"),
        folders=("$ORIGIN/../lib", "/opt/lib"),
    )
    assert read_needs(make_elf(machine=183)).architecture == "arm64"
    assert read_needs(make_elf(machine=8)).architecture == "8"


@pytest.mark.skipif(sys.platform != "linux", reason="programs are other files elsewhere")
def test_this_interpreter_is_read() -> None:
    needs = needs_of(Path(sys.executable).resolve())
    assert needs.loader is not None
    assert "libc.so.6" in needs.libraries


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"#!/bin/sh\n",
        b"\x7fELF\x01\x01" + bytes(100),  # 32 bits
        b"\x7fELF\x02\x02" + bytes(100),  # big-endian
        make_elf().replace(_ENTRY.pack(29, 21), _ENTRY.pack(29, 1 << 40)),  # a text far outside
        make_elf(loader="/" * 5000),
    ],
)
def test_anything_else_is_refused(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError):
        read_needs(content)
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(IntegrityError):
        needs_of(tmp_path / "file")


def test_no_damage_does_more_than_being_refused() -> None:
    whole = make_elf()
    chance = random.Random(7)
    for length in range(len(whole)):
        _read(whole[:length])
    for _ in range(3000):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 8)):
            damaged[chance.randrange(len(whole))] = chance.randrange(256)
        _read(bytes(damaged))


def _read(content: bytes) -> None:
    with contextlib.suppress(IntegrityError):
        read_needs(content)
