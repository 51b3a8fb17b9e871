"""Which blobs hold layers in gzip: a cache, so that a layer is compressed once."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete

from modelyard.blobs.base import Stored
from modelyard.store.blobs import LEASE, Blobs
from modelyard.store.repository import Repository
from modelyard.store.rows import CompressedLayerRow


class CompressedLayers(Repository):
    """The cache; an entry goes with its layer, and when it was not made anew for long."""

    def find(self, layer: str) -> Stored | None:
        """The blob with the layer of this digest in gzip, or null."""
        row = self._session.get(CompressedLayerRow, layer)
        return None if row is None else Stored(row.digest, row.size)

    def put(self, layer: str, stored: Stored) -> None:
        """Keep a blob as the compressed form of a layer, in place of what it had.

        Raises:
            Unavailable: The blob is being deleted at this moment: write it again.
        """
        Blobs(self._session, self._clock).record(stored.digest, stored.size, self._clock() + LEASE)
        self._session.execute(delete(CompressedLayerRow).where(CompressedLayerRow.layer == layer))
        self._session.add(
            CompressedLayerRow(
                layer=layer, digest=stored.digest, size=stored.size, created_at=self._clock()
            )
        )
        self._session.flush()

    def expire(self, before: datetime) -> None:
        """Drop what was made before then: it can be made again."""
        old = delete(CompressedLayerRow).where(CompressedLayerRow.created_at < before)
        self._session.execute(old)
