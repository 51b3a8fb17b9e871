"""Bytes of a pickle that may be large, packed or hostile: read forwards, in small pieces.

Called by `scan`. What need not be seen is jumped over where that is possible.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

PIECE = 64 << 10
_LZMA_MEMORY = 64 << 20

ReadBytes = Callable[[int, int], bytes]
"""Bytes of a file: offset, length."""


class Unreadable(Exception):
    """It cannot be read on: it is cut off, malformed, or beyond a limit."""


class Budget:
    """How much may still be done, for all of a model's files together."""

    def __init__(self, *, opcodes: int, size: int) -> None:
        self._opcodes = opcodes
        self._size = size

    def opcode(self) -> None:
        """Count one more opcode."""
        self._opcodes -= 1
        if self._opcodes < 0:
            raise Unreadable("too many opcodes")

    def bytes(self, count: int) -> None:
        """Count more bytes, unpacked."""
        self._size -= count
        if self._size < 0:
            raise Unreadable("too many bytes")


class Source(Protocol):
    """Bytes from the first to the last."""

    def more(self) -> bytes:
        """The next piece; empty at the end."""
        ...

    def skip(self, count: int) -> int:
        """Leave out the next bytes without reading them, as many as that is possible for."""
        ...


class Ranges:
    """A part of a file."""

    def __init__(self, read: ReadBytes, begin: int, end: int) -> None:
        self._read = read
        self._place = begin
        self._end = end

    def more(self) -> bytes:
        """The next piece; empty at the end."""
        wanted = min(PIECE, self._end - self._place)
        piece = self._read(self._place, wanted) if wanted > 0 else b""
        self._place += len(piece)
        return piece

    def skip(self, count: int) -> int:
        """Leave out all of them."""
        self._place += count
        return count


class Inflated:
    """What a codec packed, a small piece at a time."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    def more(self) -> bytes:
        """The next piece; empty at the end.

        Raises:
            Unreadable: The packed bytes are damaged.
        """
        try:
            return next((piece for piece in self._pieces if piece), b"")
        except (zlib.error, OSError, EOFError, lzma.LZMAError) as error:
            raise Unreadable("damaged") from error

    def skip(self, count: int) -> int:
        """None of them: they have to be unpacked."""
        del count
        return 0


class Reader:
    """Takes bytes from a source, as many as are asked for and no more than the budget allows."""

    def __init__(self, source: Source, budget: Budget) -> None:
        self._source = source
        self._budget = budget
        self._held = b""
        self._at = 0

    def take(self, count: int) -> bytes:
        """The next bytes.

        Raises:
            Unreadable: There are not as many, or the budget is spent.
        """
        while len(self._held) - self._at < count:
            self._fill()
        begin, self._at = self._at, self._at + count
        return self._held[begin : self._at]

    def line(self, longest: int) -> bytes | None:
        """The bytes up to the next line feed, without it; None for more than `longest`."""
        found = b""
        while (end := self._held.find(b"\n", self._at)) < 0:
            found = (found + self._held[self._at :])[: longest + 1]
            self._held, self._at = b"", 0
            self._fill()
        found = (found + self._held[self._at : end])[: longest + 1]
        self._at = end + 1
        return None if len(found) > longest else found

    def skip(self, count: int) -> None:
        """Leave out the next bytes. Raises `Unreadable` as `take` does."""
        left = count - (len(self._held) - self._at)
        if left <= 0:
            self._at += count
            return
        self._held, self._at = b"", 0
        left -= self._source.skip(left)
        while left > 0:
            self._fill()
            step = min(left, len(self._held))
            self._held, left = self._held[step:], left - step

    def peek(self, count: int) -> bytes:
        """The next bytes, fewer at the end; they are not taken."""
        try:
            while len(self._held) - self._at < count:
                self._fill()
        except Unreadable:
            pass
        return self._held[self._at : self._at + count]

    def _fill(self) -> None:
        piece = self._source.more()
        if not piece:
            raise Unreadable("cut off")
        self._budget.bytes(len(piece))
        self._held, self._at = self._held[self._at :] + piece, 0


def unpacked(source: Source, head: bytes) -> Inflated | None:
    """The bytes that a codec of joblib's packed, or None when none of them did."""
    if head.startswith(b"\x1f\x8b") or _is_zlib(head):
        return Inflated(_zlib(source, zlib.decompressobj(wbits=47)))
    if head.startswith(b"BZh"):
        return Inflated(_others(source, bz2.BZ2Decompressor()))
    if head.startswith((b"\xfd7zXZ\x00", b"\x5d\x00\x00")):
        return Inflated(_others(source, lzma.LZMADecompressor(memlimit=_LZMA_MEMORY)))
    return None


def deflated(source: Source) -> Inflated:
    """A member that a zip archive packed."""
    return Inflated(_zlib(source, zlib.decompressobj(wbits=-15)))


def _is_zlib(head: bytes) -> bool:
    return head[:1] == b"\x78" and int.from_bytes(head[:2], "big") % 31 == 0


def _zlib(source: Source, codec: zlib._Decompress) -> Iterator[bytes]:
    while not codec.eof and (packed := source.more()):
        while packed:
            yield codec.decompress(packed, PIECE)
            packed = codec.unconsumed_tail


def _others(source: Source, codec: bz2.BZ2Decompressor | lzma.LZMADecompressor) -> Iterator[bytes]:
    while not codec.eof:
        packed = source.more() if codec.needs_input else b""
        if codec.needs_input and not packed:
            return
        yield codec.decompress(packed, PIECE)
