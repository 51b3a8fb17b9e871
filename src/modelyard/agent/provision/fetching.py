"""Fetches blobs by digest into files, going on where an earlier attempt stopped.

Also in another life of the agent: what has arrived lies in a partial file. Used by whatever brings
images to this host.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from modelyard.errors import InsufficientStorage, IntegrityError, ServerUnreachable

_CHUNK = 1 << 20


class Blobs(Protocol):
    """Where the bytes of layers come from."""

    def blob(self, digest: str, start: int) -> Iterator[bytes]:
        """The bytes of a blob from `start` on."""


def complete(partial: Path, digest: str, size: int, blobs: Blobs) -> None:
    """Complete a partial file of a blob; nobody has looked yet whether it holds the right bytes.

    Raises:
        ModelyardError: It cannot be fetched, or is too long.
    """
    with partial.open("ab") as file:
        while (start := file.tell()) < size:
            try:
                _append(file, digest, size, blobs)
            except ServerUnreachable:
                if file.tell() == start:
                    raise
                # The connection broke on the way: what arrived need not be sent again.
            else:
                if file.tell() == start:
                    raise IntegrityError(f"the server has only {start} of {size} bytes of {digest}")


def _append(file: BinaryIO, digest: str, size: int, blobs: Blobs) -> None:
    for chunk in blobs.blob(digest, file.tell()):
        file.write(chunk)
        if file.tell() > size:
            raise IntegrityError(f"layer {digest} is longer than {size} bytes")


def file_chunks(path: Path) -> Iterator[bytes]:
    """The bytes of a file in pieces."""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


class BlobCache:
    """Whole blobs of this host, below one folder; each is checked when it has arrived.

    Args:
        folder: Where they are kept.
        blobs: Where they come from.
    """

    def __init__(self, folder: Path, blobs: Blobs) -> None:
        self._folder = folder
        self._blobs = blobs
        self._locks: dict[str, threading.Lock] = {}

    def file(self, digest: str, size: int) -> Path:
        """The file of a blob, which is fetched when it is not here.

        Raises:
            ModelyardError: It cannot be fetched or kept.
        """
        place = self._folder / digest.removeprefix("sha256:")
        with self._locks.setdefault(digest, threading.Lock()):
            try:
                if not (place.is_file() and place.stat().st_size == size):
                    self._fetch(place, digest, size)
            except OSError as error:
                raise InsufficientStorage(f"cannot keep blob {digest}: {error}") from error
        return place

    def keep_only(self, digests: Collection[str]) -> None:
        """Remove what nothing needs; what is being fetched is needed."""
        kept = {digest.removeprefix("sha256:") for digest in digests}
        for path in self._folder.iterdir():
            if path.stem not in kept:
                path.unlink(missing_ok=True)

    def _fetch(self, place: Path, digest: str, size: int) -> None:
        partial = place.with_suffix(".partial")
        complete(partial, digest, size, self._blobs)
        found = hashlib.sha256()
        for chunk in file_chunks(partial):
            found.update(chunk)
        if f"sha256:{found.hexdigest()}" != digest:
            partial.unlink()  # the next attempt begins anew
            raise IntegrityError(f"blob {digest} arrived as sha256:{found.hexdigest()}")
        partial.replace(place)
