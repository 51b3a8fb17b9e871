"""Moves bytes: streamed, hashed on the way, compared at the end, with constant memory."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from io import FileIO
from pathlib import Path
from typing import BinaryIO, TypeVar

import httpx2

from modelyard.client.connection import Connection, parse, unreachable
from modelyard.client.files import LocalFile
from modelyard.domain.model import ModelFile
from modelyard.errors import IntegrityError, InvalidRequest, ServerUnreachable
from modelyard.schemas import FileReference, StoredBlob

Progress = Callable[[int, int | None], None]
"""Called with the bytes moved so far and the bytes in all, None when that is not known."""

CHUNK = 1 << 20
THREADS = 4

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Stopped(Exception):
    """Another thread of the same transfer failed, or the caller interrupted it."""


class _Meter:
    """Counts what several threads move, and tells one caller."""

    def __init__(self, total: int | None, progress: Progress | None) -> None:
        self._total = total
        self._progress = progress
        self._done = 0
        self._lock = threading.Lock()
        self._stopped = False

    def add(self, count: int) -> None:
        if self._stopped:
            raise _Stopped
        with self._lock:
            self._done += count
            if self._progress is not None:
                self._progress(self._done, self._total)

    def stop(self) -> None:
        self._stopped = True


class _Reading:
    """The body of one upload: reads, hashes and counts while it is sent."""

    def __init__(self, stream: BinaryIO | FileIO, file: LocalFile, meter: _Meter) -> None:
        self._stream = stream
        self._file = file
        self._meter = meter
        self._hash = hashlib.sha256()
        self.sent = 0

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self._stream.read(CHUNK):
            if not isinstance(chunk, bytes):
                raise InvalidRequest(
                    f"the stream for `{self._file.place}` gives text",
                    hint="open it in binary mode: `open(path, 'rb')`",
                )
            self._take(chunk)
            yield chunk
        if self._file.size not in (None, self.sent):
            raise self._changed()

    def _take(self, chunk: bytes) -> None:
        self.sent += len(chunk)
        if self._file.size is not None and self.sent > self._file.size:
            raise self._changed()
        self._hash.update(chunk)
        self._meter.add(len(chunk))

    def _changed(self) -> InvalidRequest:
        return InvalidRequest(
            f"`{self._file.place}` changed while it was sent",
            hint="wait until nothing writes to it, then try again",
        )


def upload(
    connection: Connection, files: Sequence[LocalFile], progress: Progress | None = None
) -> tuple[FileReference, ...]:
    """Store the files' bytes, several at a time, and return where each belongs.

    Raises:
        IntegrityError: The server received other bytes than were sent.
        InvalidRequest: A file changed or cannot be read.
    """
    sizes = [file.size for file in files]
    total = None if None in sizes else sum(size or 0 for size in sizes)
    meter = _Meter(total, progress)
    return tuple(_in_threads(lambda file: _upload_one(connection, file, meter), files, meter))


def digest(file: LocalFile) -> FileReference:
    """Where a local file belongs, hashed but not sent."""
    assert isinstance(file.source, Path)
    with _opened(file.source) as stream:
        return FileReference(
            path=file.place, digest=f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"
        )


def download(
    connection: Connection, files: Sequence[ModelFile], folder: Path, progress: Progress | None
) -> None:
    """Write the files below an empty folder of ours, several at a time, digests verified."""
    meter = _Meter(sum(file.size for file in files), progress)
    for file in files:
        (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
    _in_threads(lambda file: _download_one(connection, file, folder, meter), files, meter)


def _in_threads(
    work: Callable[[Item], Result], items: Sequence[Item], meter: _Meter
) -> list[Result]:
    if len(items) == 1:
        return [work(items[0])]
    with ThreadPoolExecutor(THREADS) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
            return [future.result() for future in futures]
        except BaseException:
            meter.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _upload_one(connection: Connection, file: LocalFile, meter: _Meter) -> FileReference:
    if not isinstance(file.source, Path):
        return _send(connection, file, file.source, meter)
    failures = 0
    while True:
        try:
            with _opened(file.source) as stream:
                return _send(connection, file, stream, meter)
        except ServerUnreachable as error:
            # Bytes are stored under their digest, so sending them twice does no harm.
            failures += 1
            connection.pause(failures, error)


def _send(
    connection: Connection, file: LocalFile, stream: BinaryIO | FileIO, meter: _Meter
) -> FileReference:
    reading = _Reading(stream, file, meter)
    headers = {"Content-Type": "application/octet-stream"}
    if file.size is not None:
        headers["Content-Length"] = str(file.size)
    try:
        response = connection.send_body("/blobs", iter(reading), headers)
    except ServerUnreachable:
        meter.add(-reading.sent)
        raise
    stored = parse(StoredBlob, response)
    if (stored.digest, stored.size) != (reading.digest, reading.sent):
        raise IntegrityError(
            f"`{file.place}` arrived changed: sent {reading.sent} bytes with {reading.digest}, "
            f"stored {stored.size} bytes with {stored.digest}",
            hint="try again; if it happens twice, something on the way alters data",
        )
    return FileReference(path=file.place, digest=stored.digest)


def _opened(path: Path) -> FileIO:
    try:
        return path.open("rb", buffering=0)
    except OSError as error:
        raise InvalidRequest(
            f"cannot read `{path}`: {error.strerror}", hint="check that it is there and readable"
        ) from error


def _download_one(connection: Connection, file: ModelFile, folder: Path, meter: _Meter) -> None:
    hashed = hashlib.sha256()
    with (folder / file.path).open("xb", buffering=0) as target:
        for chunk in _received(connection, file):
            meter.add(len(chunk))
            hashed.update(chunk)
            target.write(chunk)
    if f"sha256:{hashed.hexdigest()}" != file.digest:
        raise IntegrityError(
            f"`{file.path}` arrived with other bytes than were registered",
            hint="try again; if it happens twice, the stored blob is damaged",
            details={"path": file.path, "digest": file.digest},
        )


def _received(connection: Connection, file: ModelFile) -> Iterator[bytes]:
    """The bytes of one file; a broken connection is continued where it broke."""
    position = failures = 0
    while position < file.size:
        try:
            for chunk in _part(connection, file.digest, position):
                position += len(chunk)
                failures = 0
                yield chunk
        except httpx2.TransportError as error:
            failures += 1
            connection.pause(failures, unreachable(connection.url, error))


def _part(connection: Connection, digest: str, start: int) -> Iterator[bytes]:
    headers = {"Range": f"bytes={start}-"} if start else {}
    with connection.stream(f"/blobs/{digest}", headers=headers) as response:
        if start and response.status_code != 206:
            raise IntegrityError(
                f"the rest of blob {digest} was asked for and all of it came",
                hint="something between here and the server drops `Range` headers; try again",
            )
        # In the pieces that arrive: gathering them would lose what came before a break.
        yield from response.iter_raw()
