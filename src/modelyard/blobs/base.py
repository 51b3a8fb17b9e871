"""Where bytes are kept, named by their digest.

Called by `control.blobs` and `control.models`, and by what builds and serves images. Which blobs
are still needed is not known here: that is `store.blobs`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from types import TracebackType
from typing import NamedTuple, Protocol, Self


class Stored(NamedTuple):
    """One blob that is there."""

    digest: str
    """`sha256:…`."""
    size: int
    """Bytes."""


class Listed(NamedTuple):
    """One blob, as found while walking a store."""

    digest: str
    size: int
    modified: datetime
    """When it was last written, UTC."""


class BlobWriter(Protocol):
    """One blob that is being written; leaving the context without `commit` leaves nothing."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append; `data` may be used again afterwards.

        Raises:
            InsufficientStorage: The disk is full; nothing is left behind.
        """
        ...

    def commit(self, expected: str | None = None) -> Stored:
        """Make the blob durable and visible under its digest; what is there already is no error.

        Raises:
            IntegrityError: The bytes are not those of the digest `expected`; nothing is kept.
            InsufficientStorage: The disk is full; nothing is kept.
        """
        ...

    def abort(self) -> None:
        """Throw away what was written; repeatable, and without effect after `commit`."""
        ...


class BlobStore(Protocol):
    """Immutable bytes by digest. Every method may be called from several threads."""

    def writer(self) -> BlobWriter:
        """Begin a new blob."""
        ...

    def open(self, digest: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The bytes from `offset` on, `length` of them or all, in pieces of 1 MiB at most.

        Raises:
            NotFound: There is no such blob; raised by this call, not by the first piece.
            InvalidRequest: The range does not begin inside the blob.
        """
        ...

    def size(self, digest: str) -> int:
        """Bytes of the blob.

        Raises:
            NotFound: There is no such blob.
        """
        ...

    def exists(self, digest: str) -> bool:
        """Whether the blob is there."""
        ...

    def delete(self, digest: str) -> None:
        """Free the bytes; deleting what is gone is no error."""
        ...

    def walk(self) -> Iterator[Listed]:
        """Every blob, in no order; one that comes or goes meanwhile may be missing."""
        ...

    def sweep(self) -> int:
        """Remove what writers that died left behind; the number of such pieces."""
        ...
