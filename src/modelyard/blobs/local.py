"""Blobs as files of this machine: `<root>/sha256/ab/<hex>`, written so that a crash leaves no lie.

A blob is written to `<root>/incoming/` in the same file system, synced, compared with the digest
it should have, renamed, and its folder synced. What has a name is therefore whole and durable.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from modelyard.blobs.base import Listed, Stored
from modelyard.domain.values import DIGEST_PATTERN
from modelyard.errors import (
    InsufficientStorage,
    IntegrityError,
    InvalidRequest,
    ModelyardError,
    NotFound,
    Unavailable,
)
from modelyard.files import sync_folder

CHUNK = 1 << 20
"""Bytes read or written at once."""

_DIGEST = re.compile(DIGEST_PATTERN.rstrip("$"))
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class LocalBlobs:
    """The blob store of one machine. Several processes may share it."""

    def __init__(self, root: Path) -> None:
        """Use `root`; it is made when it is missing."""
        self._blobs = root / "sha256"
        self._incoming = root / "incoming"
        with _translated("make the blob store"):
            for folder in (root, self._blobs, self._incoming):
                _make_folder(folder)

    def writer(self) -> LocalWriter:
        """Begin a new blob."""
        return LocalWriter(self)

    def open(self, digest: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The bytes from `offset` on, `length` of them or all, in pieces of 1 MiB at most.

        Raises:
            NotFound: There is no such blob; raised by this call, not by the first piece.
            InvalidRequest: The range does not begin inside the blob.
        """
        size = self.size(digest)
        if not 0 <= offset <= size or (length is not None and length < 0):
            raise InvalidRequest(
                f"blob `{digest}` has {size} bytes, none at offset {offset}",
                hint="ask for a range inside the blob",
            )
        end = size if length is None else min(size, offset + length)
        return _read(self._path(digest), digest, offset, end)

    def size(self, digest: str) -> int:
        """Bytes of the blob.

        Raises:
            NotFound: There is no such blob.
        """
        with _translated("look at a blob", digest):
            return self._path(digest).stat().st_size

    def exists(self, digest: str) -> bool:
        """Whether the blob is there."""
        return self._path(digest).exists()

    def delete(self, digest: str) -> None:
        """Free the bytes; deleting what is gone is no error."""
        with _translated("delete a blob", digest):
            self._path(digest).unlink(missing_ok=True)

    def walk(self) -> Iterator[Listed]:
        """Every blob, in no order; one that comes or goes meanwhile may be missing."""
        for folder in self._blobs.iterdir():
            for path in folder.iterdir():
                with contextlib.suppress(FileNotFoundError):
                    facts = path.stat()
                    modified = datetime.fromtimestamp(facts.st_mtime, UTC)
                    yield Listed(f"sha256:{path.name}", facts.st_size, modified)

    def sweep(self) -> int:
        """Remove what writers that died left behind; the number of such pieces."""
        with _translated("tidy the blob store"):
            return sum(_remove_if_abandoned(path) for path in list(self._incoming.iterdir()))

    def _path(self, digest: str) -> Path:
        if not _DIGEST.fullmatch(digest):
            raise InvalidRequest(
                f"`{digest[:100]}` is not a digest",
                hint="write `sha256:` and 64 hexadecimal digits",
            )
        name = digest.removeprefix("sha256:")
        return self._blobs / name[:2] / name

    def _new(self) -> tuple[Path, int]:
        """A new temporary file. Its lock tells `sweep` that its writer lives."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        while True:
            path = self._incoming / secrets.token_hex(16)
            descriptor = os.open(path, flags, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink:
                return path, descriptor
            os.close(descriptor)  # swept between the two calls

    def _keep(self, temporary: Path, digest: str) -> None:
        path = self._path(digest)
        _make_folder(path.parent)
        temporary.rename(path)
        sync_folder(path.parent)


class LocalWriter:
    """One blob on its way in; hashes in a second thread while the first writes."""

    def __init__(self, store: LocalBlobs) -> None:
        self._store = store
        self._hash = hashlib.sha256()
        self._size = 0
        self._buffer = bytearray()
        self._hashing: Future[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hash")
        with _translated("begin a blob"):
            self._path, self._descriptor = store._new()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.abort()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append; `data` may be used again afterwards.

        Raises:
            InsufficientStorage: The disk is full; nothing is left behind.
        """
        if isinstance(data, bytes) and len(data) >= CHUNK and not self._buffer:
            self._put(data)  # nobody can change it, so it needs no copy
            return
        self._buffer += data
        if len(self._buffer) >= CHUNK:
            piece, self._buffer = self._buffer, bytearray()
            self._put(piece)

    def commit(self, expected: str | None = None) -> Stored:
        """Make the blob durable and visible under its digest; what is there already is no error.

        Raises:
            IntegrityError: The bytes are not those of the digest `expected`; nothing is kept.
            InsufficientStorage: The disk is full; nothing is kept.
        """
        self._finish()
        with self._undone(), _translated("write a blob"):
            os.fchmod(self._descriptor, 0o444)
            os.fsync(self._descriptor)
            digest = f"sha256:{self._hash.hexdigest()}"
            if expected is not None and digest != expected:
                raise IntegrityError(
                    f"the bytes received are `{digest}`, not `{expected}` as promised",
                    hint="send them again",
                    details={"digest": digest, "expected": expected},
                )
            self._store._keep(self._path, digest)
        self._close()
        return Stored(digest, self._size)

    def abort(self) -> None:
        """Throw away what was written; repeatable, and without effect after `commit`."""
        if self._descriptor >= 0:
            self._path.unlink(missing_ok=True)
            self._close()

    def _put(self, piece: bytes | bytearray) -> None:
        with self._undone(), _translated("write a blob"):
            self._wait()
            self._hashing = self._thread.submit(self._hash.update, piece)
            _write_all(self._descriptor, piece)
        self._size += len(piece)

    def _finish(self) -> None:
        """Put the rest, without the thread: small blobs never need one."""
        with self._undone(), _translated("write a blob"):
            self._wait()
            self._hash.update(self._buffer)
            _write_all(self._descriptor, self._buffer)
        self._size += len(self._buffer)

    def _wait(self) -> None:
        if self._hashing is not None:
            self._hashing.result()

    def _close(self) -> None:
        os.close(self._descriptor)
        self._descriptor = -1
        self._thread.shutdown()

    @contextmanager
    def _undone(self) -> Iterator[None]:
        """Leave nothing behind when something goes wrong."""
        try:
            yield
        except BaseException:
            self.abort()
            raise


def _write_all(descriptor: int, data: bytes | bytearray) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _read(path: Path, digest: str, offset: int, end: int) -> Iterator[bytes]:
    with _translated("read a blob", digest):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while offset < end:
            with _translated("read a blob", digest):
                piece = os.pread(descriptor, min(CHUNK, end - offset), offset)
            if not piece:
                raise IntegrityError(
                    f"blob `{digest}` ends at {offset} bytes, before its size",
                    hint="the disk lost bytes; restore the blob from a backup",
                )
            offset += len(piece)
            yield piece
    finally:
        os.close(descriptor)


def _remove_if_abandoned(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync_folder(folder.parent)


@contextmanager
def _translated(doing: str, digest: str = "") -> Iterator[None]:
    """What a failure of the file system means to a caller."""
    try:
        yield
    except OSError as error:
        raise _meaning(error, doing, digest) from error


def _meaning(error: OSError, doing: str, digest: str) -> ModelyardError:
    if digest and error.errno == errno.ENOENT:
        return NotFound(f"blob `{digest}` not found", hint="upload it again")
    if error.errno in _FULL:
        return InsufficientStorage(
            f"the disk of the blob store is full: cannot {doing}",
            hint="free some space and try again",
        )
    return Unavailable(
        f"cannot {doing}: {error.strerror}", hint="check the disk of the blob store and try again"
    )
