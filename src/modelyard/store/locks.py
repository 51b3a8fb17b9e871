"""Environments that were locked and laid out before, by the digest of what they were asked for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import delete, exists

from modelyard.domain.image import ImageState, Package
from modelyard.store.blobs import LEASE, Blobs
from modelyard.store.repository import Repository
from modelyard.store.rows import ImageLayerRow, ImageRow, LockRow


class Lock(NamedTuple):
    """A locked environment and its layer."""

    text: str
    """The lock, as the resolver wrote it."""
    digest: str
    """Digest of the environment layer."""
    size: int
    """Bytes of that layer."""
    packages: tuple[Package, ...]


class Locks(Repository):
    """The cache of environments; shared by all workspaces, for it depends on its key alone."""

    def find(self, key: str) -> Lock | None:
        """The environment for `key`, or null."""
        row = self._session.get(LockRow, key)
        return None if row is None else Lock(row.lock, row.digest, row.size, row.packages)

    def put(self, key: str, text: str, digest: str, size: int, packages: Sequence[Package]) -> None:
        """Keep an environment, in place of what `key` had; its layer is recorded if new.

        Raises:
            Unavailable: The layer is being deleted at this moment: write it again.
        """
        Blobs(self._session, self._clock).record(digest, size, self._clock() + LEASE)
        self._session.execute(delete(LockRow).where(LockRow.key == key))
        self._session.add(
            LockRow(
                key=key,
                lock=text,
                digest=digest,
                size=size,
                packages=tuple(packages),
                created_at=self._clock(),
            )
        )
        self._session.flush()

    def expire(self, before: datetime) -> None:
        """Drop environments kept before then that no image carries; nothing while images build."""
        used = exists().where(ImageLayerRow.digest == LockRow.digest)
        building = exists().where(ImageRow.state == ImageState.RUNNING)
        self._session.execute(delete(LockRow).where(LockRow.created_at < before, ~used, ~building))
