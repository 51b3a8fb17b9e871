"""Bytes in and out of the blob store, and the clearing of what nothing refers to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from modelyard.blobs.base import BlobStore, BlobWriter
from modelyard.domain.principal import Principal
from modelyard.errors import InvalidRequest, Unavailable
from modelyard.schemas import StoredBlob
from modelyard.store import Database

LEASE = timedelta(hours=24)
"""How long an uploaded blob that nothing refers to is kept."""


class Upload:
    """One blob on its way in."""

    def __init__(
        self, writer: BlobWriter, blobs: BlobStore, database: Database, limit: int
    ) -> None:
        self._writer = writer
        self._blobs = blobs
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
        refuse_collected(self._blobs, [stored.digest])
        return StoredBlob(digest=stored.digest, size=stored.size)


def refuse_collected(blobs: BlobStore, digests: Iterable[str]) -> None:
    """Called after blobs were recorded: a collector may have taken them just before.

    Raises:
        Unavailable: The bytes of one are gone.
    """
    gone = next((digest for digest in digests if not blobs.exists(digest)), None)
    if gone is not None:
        raise Unavailable(
            f"blob `{gone}` was collected while it was stored", hint="do the same again"
        )


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
            yield Upload(writer, self._blobs, self._database, self._max_upload)

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
