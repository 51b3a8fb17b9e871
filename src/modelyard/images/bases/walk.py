"""Looks through a tar of any dialect without unpacking it: names, kinds, links, first bytes.

The layers of a base are other people's, and go as they are to a container engine, which unpacks
them; here they are only looked at. Whatever they say, no more is kept of one than a name. Called by
`take`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from modelyard.errors import IntegrityError

_BLOCK = 512
_LONGEST_EXTENSION = 1 << 20
_LONGEST_NAME = 4096
_FILES = b"0\x007S"
_LINK, _SYMLINK, _FOLDER = b"1", b"2", b"5"
_PAX, _PAX_FOR_ALL, _LONG_NAME, _LONG_LINK = b"x", b"g", b"L", b"K"


@dataclass(frozen=True, slots=True)
class Entry:
    """One member of a tar."""

    name: str
    """Without a leading `./` or `/`; it may still climb, so nothing may be written by it."""
    kind: str
    """`file`, `folder`, `link`, `symlink` or `other`."""
    target: str
    """What a link or symlink names."""
    head: bytes
    """The beginning of its content, if that was asked for."""


def walk(
    chunks: Iterable[bytes],
    most: int,
    head: Callable[[str], int] = lambda name: 0,
) -> Iterator[Entry]:
    """Every member of a tar.

    Args:
        chunks: The tar in pieces of any length.
        most: Members that it may have.
        head: How many bytes of a file's beginning are wanted, by its name.

    Raises:
        IntegrityError: It is no tar, ends in the middle, or has more members.
    """
    stream = _Stream(chunks)
    number, long = 0, _Long()
    while (block := stream.header()) is not None:
        kind, length = block[156:157], _number(block[124:136])
        if (number := number + 1) > most:
            raise IntegrityError(f"there are more than {most} members")
        if kind in (_PAX, _PAX_FOR_ALL, _LONG_NAME, _LONG_LINK):
            long.take(kind, stream.whole(length))
            continue
        length = long.size(length) if kind in _FILES else 0 if kind in (_LINK, _SYMLINK) else length
        name = _clean(long.name(block))
        begin = stream.begin(length, head(name) if kind in _FILES else 0)
        yield Entry(name, _word(kind, name), _bounded(long.target(block)), begin)
        long = _Long()


class _Long:
    """What headers before a member say about it."""

    def __init__(self) -> None:
        self._name: str | None = None
        self._target: str | None = None
        self._size: str | None = None

    def take(self, kind: bytes, content: bytes) -> None:
        if kind == _LONG_NAME:
            self._name = _text(content)
        elif kind == _LONG_LINK:
            self._target = _text(content)
        elif kind == _PAX:
            records = _records(content)
            self._name = records.get("path", self._name)
            self._target = records.get("linkpath", self._target)
            self._size = records.get("size", self._size)

    def name(self, block: bytes) -> str:
        if self._name is not None:
            return self._name
        name, prefix = _text(block[:100]), _text(block[345:500])
        return f"{prefix}/{name}" if prefix and block[257:263] == b"ustar\0" else name

    def target(self, block: bytes) -> str:
        return self._target if self._target is not None else _text(block[157:257])

    def size(self, stated: int) -> int:
        if self._size is None:
            return stated
        if not (self._size.isascii() and self._size.isdigit()) or len(self._size) > 18:
            raise IntegrityError("a member has an impossible size")
        return int(self._size)


class _Stream:
    """The bytes of a tar, in order."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._buffer = memoryview(b"")
        self._skip = 0

    def header(self) -> bytes | None:
        """The next header, or None at the end."""
        self._pass(self._skip)
        self._skip = 0
        block = b"".join(self._take(_BLOCK))
        if not block or not any(block):
            for _ in self._chunks:  # what follows the end is read, so that all of it is hashed
                pass
            return None
        if len(block) < _BLOCK or not _sums_up(block):
            raise IntegrityError("it is no tar, or a damaged one")
        return block

    def whole(self, size: int) -> bytes:
        """The content of an extended header."""
        if size > _LONGEST_EXTENSION:
            raise IntegrityError("an extended header is too long")
        content = self.begin(size, size)
        self._pass(self._skip)
        self._skip = 0
        return content

    def begin(self, size: int, wanted: int) -> bytes:
        """The first bytes of a content of `size`; the rest is passed over with the next header."""
        content = b"".join(self._take(min(size, wanted)))
        if len(content) < min(size, wanted):
            raise IntegrityError("the archive ends in the middle of a member")
        self._skip = size - len(content) + -size % _BLOCK
        return content

    def _pass(self, size: int) -> None:
        for piece in self._take(size):
            size -= len(piece)
        if size:
            raise IntegrityError("the archive ends in the middle of a member")

    def _take(self, size: int) -> Iterator[memoryview]:
        while size:
            while not self._buffer:
                chunk = next(self._chunks, None)
                if chunk is None:
                    return
                self._buffer = memoryview(chunk)
            piece, self._buffer = self._buffer[:size], self._buffer[size:]
            size -= len(piece)
            yield piece


def _sums_up(block: bytes) -> bool:
    stated = _number(block[148:156])
    return stated == sum(block) - sum(block[148:156]) + 8 * ord(" ")


def _number(field: bytes) -> int:
    """A number as tar writes it: octal digits, or GNU's binary form for what is too large."""
    if field[0] & 0x80:
        number = int.from_bytes(field[1:], "big")
        if field[0] != 0x80 or number > 1 << 60:
            raise IntegrityError("a member has an impossible size")
        return number
    digits = field.strip(b" \0")
    if digits.strip(b"01234567"):
        raise IntegrityError("it is no tar, or a damaged one")
    return int(digits or b"0", 8)


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")


def _records(content: bytes) -> dict[str, str]:
    records = {}
    while content:
        digits, space, _ = content[:12].partition(b" ")
        length = int(digits) if space and digits.isdigit() else 0
        key, equals, value = content[len(digits) + 1 : length].partition(b"=")
        if not equals or len(content) < length:
            raise IntegrityError("an extended header is malformed")
        records[key.decode("latin-1")] = value.removesuffix(b"\n").decode(
            "utf-8", "backslashreplace"
        )
        content = content[length:]
    return records


def _bounded(name: str) -> str:
    if len(name) > _LONGEST_NAME:
        raise IntegrityError("a name is too long")
    return name


def _clean(name: str) -> str:
    _bounded(name)
    while name.startswith(("./", "/")):
        name = name.removeprefix("./").lstrip("/")
    return name


def _word(kind: bytes, name: str) -> str:
    if kind in _FILES:
        return "folder" if name.endswith("/") else "file"
    return {_LINK: "link", _SYMLINK: "symlink", _FOLDER: "folder"}.get(kind, "other")
