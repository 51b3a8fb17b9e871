"""Gzip of layers: written so that the same bytes give the same bytes, read with a limit."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator

from modelyard.errors import IntegrityError

LEVEL = 6
_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
"""Deflate, no name, no time, no operating system."""
_RAW = -15
_GZIP = 31
_PIECE = 1 << 20
_MOST = 16 << 30
_FREE = 64 << 20
_LARGEST_RATIO = 100


def compressed(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The bytes in gzip; nothing but them and this machine's zlib decides about the outcome."""
    deflate = zlib.compressobj(LEVEL, zlib.DEFLATED, _RAW)
    crc = length = 0
    yield _HEADER
    for chunk in chunks:
        crc = zlib.crc32(chunk, crc)
        length += len(chunk)
        if data := deflate.compress(chunk):
            yield data
    yield deflate.flush() + struct.pack("<II", crc, length & 0xFFFFFFFF)


def most_inflated(size: int) -> int:
    """Bytes that may come out of `size` bytes of others: less than a trap would give."""
    return min(_MOST, max(_FREE, size * _LARGEST_RATIO))


def inflated(chunks: Iterable[bytes], limit: int) -> Iterator[bytes]:
    """What is in gzip, also in several members, in pieces of 1 MiB at most.

    Args:
        chunks: The compressed bytes.
        limit: Bytes that may come out; what claims to be more is given up.

    Raises:
        IntegrityError: It is not gzip, it breaks off, or more comes out.
    """
    inflater = _Inflater(limit)
    for chunk in chunks:
        yield from inflater.feed(chunk)
    yield from inflater.finish()


class _Inflater:
    def __init__(self, limit: int) -> None:
        self._left = limit
        self._inflate = zlib.decompressobj(_GZIP)

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._inflate.eof:
                self._inflate = zlib.decompressobj(_GZIP)
            piece = self._step(data)
            data = self._inflate.unused_data or self._inflate.unconsumed_tail
            if piece:
                yield piece

    def finish(self) -> Iterator[bytes]:
        while not self._inflate.eof:
            piece = self._step(b"")
            if not piece:
                raise IntegrityError("the compressed layer breaks off")
            yield piece

    def _step(self, data: bytes) -> bytes:
        try:
            piece = self._inflate.decompress(data, _PIECE)
        except zlib.error as error:
            raise IntegrityError("the compressed layer is not valid gzip") from error
        self._left -= len(piece)
        if self._left < 0:
            raise IntegrityError("more comes out of the compressed layer than was promised")
        return piece
