"""Looking through tars of other people: every dialect is read, and no tar does harm."""

from __future__ import annotations

import contextlib
import random
import tarfile

import pytest
from tests.layouts import tar

from modelyard.errors import IntegrityError
from modelyard.images.bases.walk import Entry, walk

LONG = "a/" * 60 + "very-long-name.txt"
FILES = {
    "./bin/": None,
    "./bin/python3.11": b"program" * 200,
    "bin/python3": "python3.11",
    LONG: b"x",
    "bin/far": "../" * 60 + "far",
    "größe": b"",
}


def entries(content: bytes, piece: int = 10_240, most: int = 100) -> list[Entry]:
    pieces = [content[start : start + piece] for start in range(0, len(content), piece)]
    return list(walk(pieces, most, lambda name: 5 if name.startswith("bin/") else 0))


@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("piece", [1, 511, 100_000])
def test_every_dialect_is_read(kind: int, piece: int) -> None:
    content = tar(FILES, kind)
    found = entries(content, piece)
    assert [(entry.name, entry.kind) for entry in found] == [
        ("bin/", "folder"),
        ("bin/python3.11", "file"),
        ("bin/python3", "symlink"),
        (LONG, "file"),
        ("bin/far", "symlink"),
        ("größe", "file"),
    ]
    assert found[1].head == b"progr"
    assert (found[2].target, found[4].target) == ("python3.11", "../" * 60 + "far")


def test_other_kinds_are_named_so() -> None:
    member = tarfile.TarInfo("pipe")
    member.type = tarfile.FIFOTYPE
    assert [entry.kind for entry in entries(member.tobuf() + bytes(1024))] == ["other"]


def test_an_empty_tar_has_nothing() -> None:
    assert entries(b"") == entries(bytes(1024)) == []


def header(**changes: object) -> bytes:
    member = tarfile.TarInfo("file")
    for name, value in changes.items():
        setattr(member, name, value)
    return member.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"no tar" * 200, "no tar"),
        (header()[:300], "no tar"),
        (header(size=600) + bytes(512), "in the middle"),
        (header(size=1 << 61), "impossible size"),
        (header(type=b"x", size=2 << 20) + bytes(2 << 20), "extended header is too long"),
        (header(type=b"L", size=2 << 20) + bytes(2 << 20), "extended header is too long"),
        (header(type=b"L", size=5000) + b"a" * 5120 + header(), "name is too long"),
        (header(type=b"K", size=5000) + b"a" * 5120 + header(), "name is too long"),
        (header(type=b"x", size=20) + b"99 path=x\n" + bytes(502), "malformed"),
        (
            header(type=b"x", size=15) + b"15 size=1e9999\n".ljust(512, b"\0") + header(),
            "impossible size",
        ),
        (header() * 101, "more than 100 members"),
    ],
)
def test_what_is_damaged_or_means_harm_is_refused(content: bytes, why: str) -> None:
    with pytest.raises(IntegrityError, match=why):
        entries(content)


def test_no_damage_does_more_than_being_refused() -> None:
    whole, chance = tar(FILES), random.Random(11)
    for _ in range(1500):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 6)):
            damaged[chance.randrange(len(whole))] = chance.randrange(256)
        with contextlib.suppress(IntegrityError):
            entries(bytes(damaged))
