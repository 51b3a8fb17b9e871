"""Which blobs there are, who holds them, and which may go.

A blob is held by what refers to it (foreign keys) and by a lease, which an upload takes before
anything refers to it. Leaving takes two steps with time between them, so that nothing that is
being registered loses its bytes; `control.uploads` walks them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, case, delete, exists, select, update

from modelyard.errors import NotFound, Unavailable
from modelyard.store.dialect import upsert
from modelyard.store.repository import Repository
from modelyard.store.rows import (
    BlobRow,
    BlobState,
    ImageFileRow,
    ImageLayerRow,
    LockRow,
    ModelFileRow,
)

GRACE = timedelta(minutes=10)
"""Time between the two steps out."""

LEASE = timedelta(hours=24)
"""How long bytes are kept that an image or a cache entry was the last to refer to."""

_CHUNK = 500
"""Digests in one statement; databases limit the number of parameters."""


class Blobs(Repository):
    """What the control plane knows about the blob store."""

    def record(self, digest: str, size: int, lease: datetime) -> None:
        """Note that the bytes are there, held until `lease` even when nothing refers to them.

        Raises:
            Unavailable: They are being deleted at this moment: upload them again.
        """
        if self._state(digest) is BlobState.DELETING:
            raise Unavailable(
                f"blob `{digest}` is being deleted at this moment", hint="upload it again"
            )
        now = self._clock()
        values = {
            "digest": digest,
            "size": size,
            "state": BlobState.LIVE,
            "leased_until": lease,
            "created_at": now,
        }
        longer = case((BlobRow.leased_until > lease, BlobRow.leased_until), else_=lease)
        changes = {"state": BlobState.LIVE, "condemned_at": None, "leased_until": longer}
        upsert(self._session, BlobRow, values, changes)

    def known(self, digest: str) -> int | None:
        """Size in bytes of a blob that may be referred to, or null when there is none."""
        return self.sizes([digest]).get(digest)

    def sizes(self, digests: Iterable[str]) -> dict[str, int]:
        """Sizes in bytes of those that are there."""
        found: dict[str, int] = {}
        for chunk in _chunks(digests):
            query = select(BlobRow.digest, BlobRow.size).where(
                BlobRow.digest.in_(chunk), BlobRow.state != BlobState.DELETING
            )
            found.update((digest, size) for digest, size in self._session.execute(query))
        return found

    def hold(self, digests: Iterable[str], lease: datetime | None = None) -> dict[str, int]:
        """Take blobs off the way out, as something is about to refer to them; their sizes.

        With `lease` they stay off it until then, also when nothing refers to them after all.

        Raises:
            NotFound: Some are not there; `details["missing"]` lists them.
        """
        wanted = set(digests)
        sizes = self.sizes(wanted)
        missing = sorted(wanted - sizes.keys())
        if missing:
            raise NotFound(
                f"{len(missing)} blobs are not there, the first is `{missing[0]}`",
                hint="upload the files again",
                details={"missing": missing[:100]},
            )
        for chunk in _chunks(wanted):
            self._revive(chunk, lease)
        return sizes

    def unreferenced(self, now: datetime) -> list[str]:
        """Digests that nothing refers to and no lease holds."""
        query = select(BlobRow.digest).where(BlobRow.leased_until < now, _unreferenced())
        return list(self._session.scalars(query))

    def collect(self, now: datetime, grace: timedelta = GRACE) -> list[str]:
        """Condemn what nothing holds; answer what was condemned `grace` ago and is still not held.

        Delete the bytes of what is answered, then call `forget`. Until then nothing can refer to
        these blobs, and a later call answers them again, so a crash in between costs nothing.
        """
        self._advance(BlobState.CONDEMNED, BlobState.DELETING, BlobRow.condemned_at <= now - grace)
        self._advance(BlobState.LIVE, BlobState.CONDEMNED, BlobRow.leased_until < now, now)
        doomed = select(BlobRow.digest).where(BlobRow.state == BlobState.DELETING)
        return list(self._session.scalars(doomed))

    def forget(self, digests: Iterable[str]) -> None:
        """The bytes of these, answered by `collect`, are gone."""
        for chunk in _chunks(digests):
            self._session.execute(
                delete(BlobRow).where(
                    BlobRow.digest.in_(chunk), BlobRow.state == BlobState.DELETING
                )
            )

    def _revive(self, digests: Sequence[str], lease: datetime | None) -> None:
        query = update(BlobRow).where(BlobRow.digest.in_(digests))
        condemned = query.where(BlobRow.state == BlobState.CONDEMNED)
        self._session.execute(condemned.values(state=BlobState.LIVE, condemned_at=None))
        if lease is not None:
            shorter = query.where(BlobRow.leased_until < lease)
            self._session.execute(shorter.values(leased_until=lease))

    def _advance(
        self,
        former: BlobState,
        state: BlobState,
        due: ColumnElement[bool],
        condemned_at: datetime | None = None,
    ) -> None:
        query = update(BlobRow).where(BlobRow.state == former, due, _unreferenced())
        self._session.execute(query.values(state=state, condemned_at=condemned_at))

    def _state(self, digest: str) -> BlobState | None:
        return self._session.scalar(select(BlobRow.state).where(BlobRow.digest == digest))


def _unreferenced() -> ColumnElement[bool]:
    return and_(
        ~exists().where(ModelFileRow.digest == BlobRow.digest),
        ~exists().where(ImageLayerRow.digest == BlobRow.digest),
        ~exists().where(ImageFileRow.digest == BlobRow.digest),
        ~exists().where(LockRow.digest == BlobRow.digest),
    )


def _chunks(digests: Iterable[str]) -> Iterator[Sequence[str]]:
    ordered = sorted(set(digests))
    for start in range(0, len(ordered), _CHUNK):
        yield ordered[start : start + _CHUNK]
