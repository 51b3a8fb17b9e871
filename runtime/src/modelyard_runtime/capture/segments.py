"""Files of records, each with its length and checksum: appended to by one process, then closed.

A segment is open as long as its writer holds a lock on it, so a killed writer closes what it had.
The lock is of the process, so what that one forks does not keep it; and so the process itself has
to remember what it has open, because to it no lock says so.
What a kill cut short at the end is recognised by its length or checksum, and not read.
"""

from __future__ import annotations

import fcntl
import os
import stat
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

ENDING = ".segment"
LARGEST_RECORD = 64 << 20
"""Bytes of one record; a longer one is taken for damage."""

_FRAME = struct.Struct("<II")
_pack = _FRAME.pack
_crc = zlib.crc32
_written: set[tuple[int, Path]] = set()
"""Segments that a process writes: its own lock would let it in, and be gone with the descriptor."""


def head_of(payload: bytes) -> bytes:
    """What stands before a record in a segment."""
    return _pack(len(payload), _crc(payload))


def frame(payload: bytes) -> bytes:
    """A record as it stands in a segment."""
    return head_of(payload) + payload


class Segment:
    """A segment that is written.

    Args:
        folder: Where it lies.
        name: Its name, without the ending; a file that no other has had.

    Raises:
        OSError: It cannot be made.
    """

    __slots__ = ("_fd", "_mine", "path", "size")

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"{name}{ENDING}"
        self.size = 0
        self._mine = (os.getpid(), self.path)
        new = self.path.with_suffix(".new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._fd = os.open(new, flags, 0o600)
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _written.add(self._mine)
            os.rename(new, self.path)  # only now may others look at it: it is locked
        except OSError:
            _written.discard(self._mine)
            os.close(self._fd)
            raise

    def append(self, frames: bytes, *, durable: bool = False) -> None:
        """Write whole frames, or nothing of them; durable ones survive a power cut from here on.

        Raises:
            OSError: The disk is full, or broken.
        """
        written = os.write(self._fd, frames)
        if written != len(frames):
            self.cut()
            raise OSError(28, "No space left on device")
        if durable:
            os.fdatasync(self._fd)
        self.size += written

    def cut(self) -> None:
        """Take back what a write that failed has left."""
        os.ftruncate(self._fd, self.size)

    def close(self) -> None:
        """Let others have it."""
        os.close(self._fd)
        _written.discard(self._mine)


def open_closed(path: Path) -> int | None:
    """Open and lock a segment that nobody writes any more.

    Returns:
        A descriptor to read from, which holds the lock; None while somebody writes it, when it is
        gone, and for what is no file of its own.
    """
    if (os.getpid(), path) in _written:
        return None
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        fd = os.open(path, flags)
    except OSError:
        return None
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_own_file(os.fstat(fd)):
            return fd
    except OSError:
        pass
    os.close(fd)
    return None


def read_records(fd: int) -> Iterator[bytes]:
    """Every whole record of a segment, up to the first that is damaged."""
    with open(fd, "rb", closefd=False) as file:
        while len(head := file.read(_FRAME.size)) == _FRAME.size:
            length, crc = _FRAME.unpack(head)
            if length > LARGEST_RECORD:
                return
            payload = file.read(length)
            if len(payload) != length or _crc(payload) != crc:
                return
            yield payload


def segments_in(folder: Path) -> list[Path]:
    """The segments of a folder, oldest first; none when it is not there.

    What else has such a name, a link for example, is none: nobody will ever open it.
    """
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if _is_segment(entry))
    except OSError:
        return []
    return [folder / name for name in names]


def _is_segment(entry: os.DirEntry[str]) -> bool:
    if not entry.name.endswith(ENDING):
        return False
    try:
        return _is_own_file(entry.stat(follow_symlinks=False))
    except OSError:  # it has gone meanwhile
        return False


def _is_own_file(facts: os.stat_result) -> bool:
    return stat.S_ISREG(facts.st_mode) and facts.st_nlink == 1
