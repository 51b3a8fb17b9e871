"""Tar archives that carry an image: an index of the files inside, read strictly and never unpacked.

Other programs write these archives, so more is understood here than in `images.tar`, which is the
dialect of our own layers. Names are only looked up, never written to a disk.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from modelyard.errors import IntegrityError, InvalidRequest, NotFound

BLOCK = 512
MAX_FILES = 10_000
"""Files and folders of one archive: more than any image has layers and documents."""
_MAX_NAME = 64 << 10
_PIECE = 1 << 20

_FILE, _FOLDER = (b"0", b"\0"), b"5"
_PAX, _PAX_GLOBAL, _GNU_NAME = b"x", b"g", b"L"
_GZIP_MAGIC = b"\x1f\x8b"

Read = Callable[[int, int], Iterator[bytes]]
"""Bytes of the archive: from an offset, that many."""


class Files(Protocol):
    """Files by their names: those of an archive, or of a folder."""

    @property
    def name(self) -> str:
        """What they are called in messages."""
        ...

    def names(self) -> Iterable[str]:
        """All of them, folders left out."""
        ...

    def size(self, path: str) -> int:
        """Bytes of a file. Raises `NotFound`."""
        ...

    def open(self, path: str) -> Iterator[bytes]:
        """The bytes of a file. Raises `NotFound`."""
        ...


class _Place(NamedTuple):
    offset: int
    size: int


class _Header(NamedTuple):
    path: str
    size: int
    kind: bytes


class ArchiveFiles:
    """The files of a tar.

    Args:
        name: What it is called in messages.
        size: Bytes of the archive.
        read: Gives them.

    Raises:
        InvalidRequest: It is no tar, or it is compressed.
        IntegrityError: It could do harm, or breaks off.
    """

    def __init__(self, name: str, size: int, read: Read) -> None:
        self.name = name
        self._read = read
        self._places: dict[str, _Place] = {}
        self._folded: set[str] = set()
        self._scan(size)

    def names(self) -> Iterable[str]:
        """All of them, folders left out."""
        return self._places

    def size(self, path: str) -> int:
        """Bytes of a file. Raises `NotFound`."""
        return self._place(path).size

    def open(self, path: str) -> Iterator[bytes]:
        """The bytes of a file. Raises `NotFound`."""
        place = self._place(path)
        return self._read(place.offset, place.size)

    def _place(self, path: str) -> _Place:
        place = self._places.get(path)
        if place is None:
            raise NotFound(f"{self.name} has no file `{path[:200]}`")
        return place

    def _scan(self, size: int) -> None:
        position = count = 0
        longer: str | None = None
        while position + BLOCK <= size:
            block = self._take(position, BLOCK)
            if not any(block):
                break
            header = self._header(block, position)
            position += BLOCK
            if position + header.size > size:
                raise IntegrityError(f"{self.name} ends in the middle of `{header.path[:200]}`")
            if (count := count + 1) > MAX_FILES:
                raise IntegrityError(f"{self.name} holds more than {MAX_FILES} files")
            if header.kind in (_PAX, _PAX_GLOBAL, _GNU_NAME):
                longer = self._longer(header, position) or longer
            else:
                self._admit(header._replace(path=longer or header.path), position)
                longer = None
            position += header.size + -header.size % BLOCK
        else:
            raise IntegrityError(f"{self.name} breaks off: the end of the archive is missing")

    def _header(self, block: bytes, position: int) -> _Header:
        if position == 0 and block.startswith(_GZIP_MAGIC):
            raise InvalidRequest(
                f"{self.name} is compressed", hint="decompress it with `gunzip`, then try again"
            )
        stated = _octal(block[148:156])
        if block[257:262] != b"ustar" or stated != sum(block) - sum(block[148:156]) + 8 * 32:
            if position == 0:
                raise InvalidRequest(f"{self.name} is no tar archive")
            raise IntegrityError(f"{self.name} has a damaged header at byte {position}")
        size = _octal(block[124:136])
        if size is None:
            raise IntegrityError(f"{self.name} has a file with an impossible size")
        name, prefix = _text(block[:100]), _text(block[345:500]) if block[263:265] == b"00" else ""
        return _Header(f"{prefix}/{name}" if prefix else name, size, block[156:157])

    def _longer(self, header: _Header, position: int) -> str | None:
        """The path in an extended header, if it has one. A size in it would be a second one."""
        if header.size > _MAX_NAME:
            raise IntegrityError(f"{self.name} has an extended header that is too long")
        body = self._take(position, header.size)
        if header.kind == _GNU_NAME:
            return _text(body)
        records = dict(_records(body, self.name))
        if header.kind == _PAX_GLOBAL and records.keys() & {"path", "size"}:
            raise IntegrityError(f"{self.name} has one path or size for all of its files")
        if "size" in records or any(key.startswith("GNU.sparse") for key in records):
            raise IntegrityError(f"{self.name} has a file with two sizes")
        return records.get("path")

    def _admit(self, header: _Header, position: int) -> None:
        path = header.path.removeprefix("./").rstrip("/")
        if header.kind == _FOLDER:
            if path:
                self._check(path)
            return
        if header.kind not in _FILE:
            raise IntegrityError(
                f"{self.name} holds `{path[:200]}`, which is neither a file nor a folder"
            )
        self._check(path)
        if path.casefold() in self._folded:
            raise IntegrityError(
                f"{self.name} holds `{path[:200]}` twice, or differing only in case"
            )
        self._folded.add(path.casefold())
        self._places[path] = _Place(position, header.size)

    def _check(self, path: str) -> None:
        parts = path.split("/")
        if not path.isprintable() or "\\" in path or any(p in ("", ".", "..") for p in parts):
            raise IntegrityError(f"{self.name} holds a file with the name {path[:200]!r}")

    def _take(self, position: int, length: int) -> bytes:
        return b"".join(self._read(position, length))


class FolderFiles:
    """The files of a folder; links are not followed."""

    def __init__(self, root: Path) -> None:
        self.name = str(root)
        self._paths = {
            path.relative_to(root).as_posix(): path
            for path in root.rglob("*")
            if path.is_file() and not path.is_symlink()
        }

    def names(self) -> Iterable[str]:
        """All of them, folders left out."""
        return self._paths

    def size(self, path: str) -> int:
        """Bytes of a file. Raises `NotFound`."""
        return self._path(path).stat().st_size

    def open(self, path: str) -> Iterator[bytes]:
        """The bytes of a file. Raises `NotFound`."""
        return pieces(self._path(path))

    def _path(self, path: str) -> Path:
        found = self._paths.get(path)
        if found is None:
            raise NotFound(f"{self.name} has no file `{path[:200]}`")
        return found


def files_at(path: Path) -> Files:
    """The files of a folder or an archive of this machine.

    Raises:
        InvalidRequest: It is neither.
        IntegrityError: The archive could do harm.
    """
    if path.is_dir():
        return FolderFiles(path)
    try:
        size = path.stat().st_size
        return ArchiveFiles(str(path), size, lambda offset, length: pieces(path, offset, length))
    except OSError as error:
        raise InvalidRequest(f"cannot read {path}: {error.strerror}") from error


def pieces(path: Path, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
    """The bytes of a file, in pieces of 1 MiB at most."""
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        left = path.stat().st_size - offset if length is None else length
        while left > 0 and (piece := file.read(min(left, _PIECE))):
            left -= len(piece)
            yield piece


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "backslashreplace")


def _octal(field: bytes) -> int | None:
    """A number of a header, also in the form for large ones; None when it is neither."""
    if field[0] == 0x80:
        number = int.from_bytes(field[1:], "big")
        return number if number < 1 << 62 else None
    digits = field.strip(b"\0 ")
    return int(digits or b"0", 8) if re.fullmatch(rb"[0-7]*", digits) else None


def _records(body: bytes, where: str) -> Iterator[tuple[str, str]]:
    while body:
        digits, _, _ = body[:8].partition(b" ")
        length = int(digits) if digits.isdigit() else 0
        key, equals, value = body[len(digits) + 1 : length].partition(b"=")
        if not equals or not value.endswith(b"\n") or len(body) < length:
            raise IntegrityError(f"{where} has an extended header that is malformed")
        yield key.decode("latin-1"), value[:-1].decode("utf-8", "backslashreplace")
        body = body[length:]
