"""The one tar dialect of layers: regular files and folders, each folder before what it holds.

USTAR, with a PAX record only for what USTAR cannot say; zero times and owners; modes 0644 and 0755.
Written by hand because the bytes are an identity and must not change with the Python that writes
them. The reader accepts exactly this dialect and nothing that could lead outside the target.
"""

from __future__ import annotations

import hashlib
import struct
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from modelyard.domain.values import RelativePath
from modelyard.errors import IntegrityError

BLOCK = 512
END = bytes(2 * BLOCK)
MAX_MEMBERS = 500_000
"""More files and folders than any environment has: the largest in use carry about 100,000."""

_HEADER = struct.Struct("100s8s8s8s12s12s8s1s100s6s2s32s32s8s8s155s12x")
_FILE, _FOLDER, _PAX = b"0", b"5", b"x"
_MAX_OCTAL_SIZE = 8**11 - 1
_MAX_PAX = 4096
_PATH = TypeAdapter[str](RelativePath)


@dataclass(frozen=True, slots=True)
class Member:
    """One file or folder of a layer."""

    path: str
    size: int = 0
    folder: bool = False
    executable: bool = False
    public: bool = False
    """A folder that everyone may write to, as `/tmp` is."""


def header(member: Member) -> bytes:
    """The blocks in front of the member's content."""
    name = f"{member.path}/" if member.folder else member.path
    split = _split(name)
    records = {} if split else {"path": name}
    if member.size > _MAX_OCTAL_SIZE:
        records["size"] = str(member.size)
    mode = 0o1777 if member.public else 0o755 if member.folder or member.executable else 0o644
    kind = _FOLDER if member.folder else _FILE
    size = 0 if "size" in records else member.size
    prefix, base = split or (b"", name.encode("ascii", "replace")[-100:])
    return _pax(records) + _block(base, mode, size, kind, prefix)


def padding(size: int) -> bytes:
    """What fills the last block of a content of `size` bytes."""
    return bytes(-size % BLOCK)


def _split(name: str) -> tuple[bytes, bytes] | None:
    """Prefix and name as USTAR has them, or None when it cannot hold this name."""
    if not name.isascii():
        return None
    if len(name) <= 100:
        return b"", name.encode()
    cut = name.find("/", len(name) - 101)
    if not 0 < cut <= 155 or cut == len(name) - 1:
        return None
    return name[:cut].encode(), name[cut + 1 :].encode()


def _pax(records: dict[str, str]) -> bytes:
    if not records:
        return b""
    body = b"".join(_record(key, value) for key, value in sorted(records.items()))
    return _block(b"././@PaxHeader", 0o644, len(body), _PAX) + body + padding(len(body))


def _record(key: str, value: str) -> bytes:
    """`<length> <key>=<value>`, where the length counts its own digits."""
    rest = f" {key}={value}\n".encode()
    length = len(rest) + 1
    while length != len(rest) + len(str(length)):
        length = len(rest) + len(str(length))
    return str(length).encode() + rest


def _block(name: bytes, mode: int, size: int, kind: bytes, prefix: bytes = b"") -> bytes:
    def fields(checksum: bytes) -> bytes:
        zero = b"0000000\0"
        return _HEADER.pack(
            name, b"%07o\0" % mode, zero, zero, b"%011o\0" % size, b"%011o\0" % 0, checksum,
            kind, b"", b"ustar\0", b"00", b"", b"", zero, zero, prefix,
        )  # fmt: skip

    return fields(b"%06o\0 " % sum(fields(b" " * 8)))


class TarStream:
    """A layer as it arrives: yields its members in order and hashes every byte on the way.

    Args:
        chunks: The tar in pieces of any length.
        limit: Bytes the tar may have, or None for no limit.
        hashed: Whether `digest` is wanted.

    Every method raises `IntegrityError` for anything but a well-formed layer.
    """

    def __init__(
        self, chunks: Iterable[bytes], limit: int | None = None, *, hashed: bool = True
    ) -> None:
        self._chunks = iter(chunks)
        self._limit = limit
        self._hashed = hashed
        self._buffer = memoryview(b"")
        self._hash = hashlib.sha256()
        self.size = 0
        """Bytes that arrived so far."""

    @property
    def digest(self) -> str:
        """`sha256:…` of what arrived so far."""
        return f"sha256:{self._hash.hexdigest()}"

    def members(self) -> Iterator[tuple[Member, Iterator[memoryview]]]:
        """Every member with its content, which must be consumed before the next one."""
        checks = MemberChecks()
        while (member := self._member()) is not None:
            checks.admit(member)
            yield member, self._pieces(member.size)
            if any(self._take(-member.size % BLOCK)):
                raise IntegrityError(f"the padding after `{member.path}` is not empty")
        if any(self._take(BLOCK)) or self._fill():
            raise IntegrityError("there is something behind the end of the archive")

    def _member(self) -> Member | None:
        """The next header, or None at the first of the two empty blocks that end a tar."""
        block = self._take(BLOCK)
        if not any(block):
            return None
        fields = _parse(block)
        records: dict[str, str] = {}
        if fields.kind == _PAX:
            records = self._records(fields.size)
            fields = _parse(self._take(BLOCK))
        if fields.kind not in (_FILE, _FOLDER):
            raise IntegrityError(
                f"`{fields.path[:200]}` is neither a regular file nor a folder "
                f"(tar type {fields.kind!r})"
            )
        return _member(fields, records)

    def _records(self, size: int) -> dict[str, str]:
        if size > _MAX_PAX:
            raise IntegrityError("an extended header is too long")
        body = bytes(self._take(size))
        self._take(-size % BLOCK)
        return _parse_records(body)

    def _take(self, size: int) -> bytes:
        return b"".join(self._pieces(size))

    def _pieces(self, size: int) -> Iterator[memoryview]:
        while size:
            if not self._fill():
                raise IntegrityError("the archive ends in the middle of a member")
            piece, self._buffer = self._buffer[:size], self._buffer[size:]
            size -= len(piece)
            yield piece

    def _fill(self) -> bool:
        """Make sure that the buffer holds something; False at the end."""
        while not self._buffer:
            chunk = next(self._chunks, None)
            if chunk is None:
                return False
            self.size += len(chunk)
            if self._limit is not None and self.size > self._limit:
                raise IntegrityError(f"the archive is longer than the promised {self._limit} bytes")
            if self._hashed:
                self._hash.update(chunk)
            self._buffer = memoryview(chunk)
        return True


class MemberChecks:
    """What must hold for the members of one layer, when it is written and when it is read.

    Paths stay below the root, folders come before what they hold, there are not too many, and no
    two stand in one place. Names that differ only in case or Unicode form are one place on macOS.
    """

    def __init__(self) -> None:
        self._folders = {""}
        self._seen: set[str] = set()

    def admit(self, member: Member) -> None:
        """Accept the next member.

        Raises:
            IntegrityError: It must not be in a layer.
        """
        _check_path(member.path)
        key = unicodedata.normalize("NFC", member.path).casefold()
        if key in self._seen:
            raise IntegrityError(f"`{member.path}` is there twice, or differs only in case")
        if member.path.rpartition("/")[0] not in self._folders:
            raise IntegrityError(f"`{member.path}` comes before its folder")
        if len(self._seen) >= MAX_MEMBERS:
            raise IntegrityError(f"there are more than {MAX_MEMBERS} files and folders")
        self._seen.add(key)
        if member.folder:
            self._folders.add(member.path)


def _check_path(path: str) -> None:
    try:
        _PATH.validate_python(path)
    except ValidationError as error:
        raise IntegrityError(f"{path[:200]!r} is not an acceptable path") from error


@dataclass(frozen=True, slots=True)
class _Fields:
    path: str
    mode: int
    size: int
    kind: bytes


def _parse(block: bytes) -> _Fields:
    name, mode, _, _, size, _, checksum, kind, _, magic, version, _, _, _, _, prefix = (
        _HEADER.unpack(block)
    )
    if magic != b"ustar\0" or version != b"00":
        raise IntegrityError("a header is not USTAR")
    if _octal(checksum) != sum(block) - sum(checksum) + 8 * ord(" "):
        raise IntegrityError("a header has a wrong checksum")
    parts = [part.rstrip(b"\0").decode("ascii", "backslashreplace") for part in (prefix, name)]
    return _Fields("/".join(part for part in parts if part), _octal(mode), _octal(size), kind)


def _octal(field: bytes) -> int:
    digits = field.rstrip(b"\0 ")
    if not digits or digits.strip(b"01234567"):
        raise IntegrityError("a header has a number that is not octal")
    return int(digits, 8)


def _parse_records(body: bytes) -> dict[str, str]:
    records = {}
    while body:
        digits, space, _ = body[:8].partition(b" ")
        length = int(digits) if space and digits.isdigit() else 0
        key, equals, value = body[len(digits) + 1 : length].partition(b"=")
        if not equals or not value.endswith(b"\n") or len(body) < length:
            raise IntegrityError("an extended header is malformed")
        records[key.decode("latin-1")] = value[:-1].decode("utf-8", "replace")
        body = body[length:]
    return records


def _member(fields: _Fields, records: dict[str, str]) -> Member:
    if unknown := records.keys() - {"path", "size"}:
        raise IntegrityError(
            f"an extended header has `{min(unknown)[:100]}`, which is not accepted"
        )
    folder = fields.kind == _FOLDER
    path = records.get("path", fields.path)
    size = records.get("size", str(fields.size))
    if not (size.isascii() and size.isdigit()) or len(size) > 18 or (folder and int(size)):
        raise IntegrityError(f"`{path[:200]}` has an impossible size")
    return Member(
        path=path.removesuffix("/") if folder else path,
        size=int(size),
        folder=folder,
        executable=not folder and bool(fields.mode & 0o100),
    )
