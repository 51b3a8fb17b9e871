"""Bytes in and out of the blob store, and the clearing of what nothing refers to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from modelyard.blobs.base import BlobStore, BlobWriter
from modelyard.domain.principal import Principal
from modelyard.errors import InvalidRequest
from modelyard.schemas import StoredBlob
from modelyard.store import Database

LEASE = timedelta(hours=24)
"""How long an uploaded blob that nothing refers to is kept."""


class Upload:
    """One blob on its way in."""

    def __init__(self, writer: BlobWriter, database: Database, limit: int) -> None:
        self._writer = writer
        self._database = database
        self._left = limit
        self._limit = limit

    def write(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            InvalidRequest: The blob is larger than the setting `max_upload`.
            InsufficientStorage: The disk is full; nothing of the upload stays.
        """
        self._left -= len(data)
        if self._left < 0:
            raise InvalidRequest(
                f"the upload is larger than {self._limit} bytes",
                hint="raise the server's setting MODELYARD_MAX_UPLOAD",
            )
        self._writer.write(data)

    def commit(self, expected: str | None) -> StoredBlob:
        """Keep the blob.

        Raises:
            IntegrityError: Its digest is not the expected one; nothing was kept.
        """
        stored = self._writer.commit(expected)
        with self._database.write() as tx:
            tx.blobs.record(stored.digest, stored.size, datetime.now(UTC) + LEASE)
        return StoredBlob(digest=stored.digest, size=stored.size)


class BlobTransfer:
    """Moves bytes between callers and the blob store."""

    def __init__(self, blobs: BlobStore, database: Database, max_upload: int) -> None:
        self._blobs = blobs
        self._database = database
        self._max_upload = max_upload

    @contextmanager
    def receive(self, principal: Principal) -> Iterator[Upload]:
        """Take in one blob; what is not committed leaves nothing behind."""
        del principal  # there is one workspace, and owners may write to it
        with self._blobs.writer() as writer:
            yield Upload(writer, self._database, self._max_upload)

    def size(self, principal: Principal, digest: str) -> int:
        """Bytes of a blob.

        Raises:
            NotFound: It is not stored here.
        """
        del principal
        return self._blobs.size(digest)

    def send(self, principal: Principal, digest: str, offset: int, length: int) -> Iterator[bytes]:
        """The bytes of a blob from `offset` on."""
        del principal
        return self._blobs.open(digest, offset, length)
