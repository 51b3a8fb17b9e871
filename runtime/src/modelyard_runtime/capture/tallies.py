"""What became of requests, counted in a small file that survives the process that counts.

The file has its full length from the start, so that drops are counted when the disk is full.
"""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path
from typing import NamedTuple

ENDING = ".tally"

_MAGIC = b"mytally1"
_COUNTS = struct.Struct("<8s8s4q")
_SIZE = 4096


class Counts(NamedTuple):
    """Requests, since the file was made."""

    id: str
    """Of the file: another one that takes its place has another."""
    answered: int
    """As the gateway has counted them; workers do not."""
    captured: int
    """Records that were written, and not thrown away since. Where one writer throws away what
    another has written, only the sum of all tallies of a folder says something."""
    sampled_out: int
    dropped: int
    """Records that were not written, or thrown away, for want of room."""


class Tally:
    """A file of counts that one process at a time adds to.

    Raises:
        OSError: It can be neither opened nor made.
    """

    __slots__ = ("_numbers",)

    def __init__(self, path: Path) -> None:
        if _read(path) is None:
            _make(path)
        with path.open("r+b") as file:
            whole = memoryview(mmap.mmap(file.fileno(), _SIZE))
        self._numbers = whole[16:48].cast("q")

    def add(
        self, answered: int = 0, captured: int = 0, sampled_out: int = 0, dropped: int = 0
    ) -> None:
        """Count."""
        numbers = self._numbers
        numbers[0] += answered
        numbers[1] += captured
        numbers[2] += sampled_out
        numbers[3] += dropped


def read_tally(path: Path) -> Counts | None:
    """The counts in a file; None for what is none."""
    return _read(path)


def _read(path: Path) -> Counts | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        data = os.read(fd, _SIZE)
    except OSError:
        return None
    finally:
        os.close(fd)
    if len(data) != _SIZE or not data.startswith(_MAGIC):
        return None
    _, name, *counts = _COUNTS.unpack_from(data)
    return Counts(name.hex(), *counts)


def _make(path: Path) -> None:
    new = path.with_suffix(".new")
    content = _COUNTS.pack(_MAGIC, os.urandom(8), 0, 0, 0, 0).ljust(_SIZE, b"\0")
    new.write_bytes(content)
    new.chmod(0o600)
    os.rename(new, path)
