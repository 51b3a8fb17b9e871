"""Images as archives, down to this machine and up from it. Called by `images` only."""

from __future__ import annotations

import io
import os
import re
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import httpx2

from modelyard.client.connection import Connection, unreachable
from modelyard.client.files import LocalFile, StrPath, collect
from modelyard.client.operations import OnLog, Operations
from modelyard.client.transfer import CHUNK, Progress, upload
from modelyard.domain.operation import Operation
from modelyard.errors import Conflict, InsufficientStorage, IntegrityError, InvalidRequest

_BUILD_FILES = re.compile(r"Containerfile|layers/[0-9]+\.tar(\.gz)?")
_SILENCE = 600.0
"""Seconds: layers that were not made ready before are compressed before the first byte."""


def wait_or_cancel(
    operations: Operations, operation: Operation, on_log: OnLog | None, what: str
) -> Operation:
    """Wait for an operation that is of use to this caller only; an interrupt ends it, too."""
    try:
        return operations.wait(operation.id, on_log=on_log)
    except KeyboardInterrupt as interrupt:
        operations.cancel(operation.id)
        interrupt.__notes__ = [f"the {what} was ended"]
        raise


def expect_room(target: Path, overwrite: bool) -> None:
    """Refuse a place that is taken or cannot be, also before the server has begun.

    Raises:
        Conflict: Something is there.
        InvalidRequest: There is no folder for it.
    """
    _parent(target)
    if not overwrite and target.exists():
        raise Conflict(
            f"`{target}` is there already", hint="name another place, or --overwrite a file"
        )


def download_file(
    connection: Connection, path: str, target: Path, overwrite: bool, progress: Progress | None
) -> None:
    """Write what is at `path` of the server into a file, whole or not at all."""
    expect_room(target, overwrite)
    with _partial(target) as file:
        _receive(connection, path, file, progress)


def download_folder(
    connection: Connection, path: str, target: Path, progress: Progress | None
) -> None:
    """Unpack the Containerfile and its layers into a new folder, all of it or nothing."""
    expect_room(target, overwrite=False)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=_parent(target)) as staging:
        with tempfile.TemporaryFile(dir=staging) as archive, _full_disk(target):
            _receive(connection, path, archive, progress)
            archive.seek(0)
            folder = Path(staging) / "whole"
            (folder / "layers").mkdir(parents=True)
            _unpack(archive, folder)
        folder.rename(target)


def download_stream(
    connection: Connection, path: str, stream: BinaryIO, progress: Progress | None
) -> None:
    """Write what is at `path` of the server into an open binary stream."""
    _receive(connection, path, stream, progress)


def upload_image(connection: Connection, path: StrPath, progress: Progress | None) -> str:
    """Send an archive, or the layout in a folder as one; the digest of what was sent.

    Raises:
        InvalidRequest: There is no such file or folder.
    """
    source = Path(path)
    if source.is_dir():
        stream: BinaryIO = io.BufferedReader(_Tar(collect(source)), CHUNK)
        return upload(connection, [LocalFile("image.tar", stream, None)], progress)[0].digest
    return upload(connection, collect(source), progress)[0].digest


def standard_output() -> BinaryIO:
    """Where `-` goes. Raises `InvalidRequest` when somebody would have to read it."""
    if sys.stdout.isatty():
        raise InvalidRequest(
            "an image is not for reading", hint="name a file, or send it on: `… -o - | podman load`"
        )
    return sys.stdout.buffer


class _Tar(io.RawIOBase):
    """A folder as a tar, made while it is read."""

    def __init__(self, files: list[LocalFile]) -> None:
        self._chunks = _tar_chunks(files)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill the buffer as far as one piece goes."""
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        piece, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(piece)] = piece
        return len(piece)


def _tar_chunks(files: list[LocalFile]) -> Iterator[bytes]:
    for file in files:
        assert isinstance(file.source, Path)
        assert file.size is not None
        member = tarfile.TarInfo(file.place)
        member.size = left = file.size
        yield member.tobuf(tarfile.PAX_FORMAT)
        with file.source.open("rb") as content:
            while left and (chunk := content.read(min(left, CHUNK))):
                left -= len(chunk)
                yield chunk
        if left:
            raise InvalidRequest(f"`{file.source}` changed while it was sent")
        yield bytes(-file.size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _receive(
    connection: Connection, path: str, target: BinaryIO, progress: Progress | None
) -> None:
    done = 0
    try:
        with connection.stream(path, silence=_SILENCE) as response:
            total = int(response.headers["content-length"])
            for chunk in response.iter_raw():
                target.write(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(done, total)
    except httpx2.TransportError as error:
        raise unreachable(connection.url, error) from error
    target.flush()


def _unpack(archive: BinaryIO, folder: Path) -> None:
    with tarfile.open(fileobj=archive, mode="r:") as members:
        for member in members:
            if member.isdir():
                continue
            content = members.extractfile(member) if member.isreg() else None
            if content is None or not _BUILD_FILES.fullmatch(member.name):
                raise IntegrityError(f"the server sent `{member.name[:200]!r}`, which is not known")
            with (folder / member.name).open("xb") as target:
                while chunk := content.read(CHUNK):
                    target.write(chunk)


@contextmanager
def _partial(target: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `target` when all is in it."""
    with _full_disk(target):
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}-", dir=_parent(target))
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
            os.chmod(name, 0o644)
            os.replace(name, target)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(name)


@contextmanager
def _full_disk(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InsufficientStorage(
            f"cannot write {target}: {error.strerror}", hint="name another place, or make room"
        ) from error


def _parent(target: Path) -> Path:
    parent = target.absolute().parent
    if not parent.is_dir():
        raise InvalidRequest(f"there is no folder {parent}", hint="name a place in one that exists")
    return parent
