"""Which blobs there are, who holds them, and which may go.

A blob is held by what refers to it (foreign keys) and by a lease, which an upload takes before
anything refers to it. Leaving takes two steps with time between them, so that nothing that is
being registered loses its bytes; `control.upkeep` walks them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import ColumnElement, and_, delete, exists, select, update

from modelyard.errors import NotFound, Unavailable
from modelyard.store.repository import Repository, insert_all
from modelyard.store.rows import (
    BlobRow,
    BlobState,
    CompressedLayerRow,
    ImageBaseRow,
    ImageFileRow,
    ImageLayerRow,
    ImageSbomRow,
    LockRow,
    ModelFileRow,
)

GRACE = timedelta(minutes=10)
"""Time between the two steps out."""

LEASE = timedelta(hours=24)
"""How long bytes are kept that an image or a cache entry was the last to refer to."""

_CHUNK = 500
"""Digests in one statement; databases limit the number of parameters."""


class _There(NamedTuple):
    """A blob that may be referred to."""

    digest: str
    size: int
    condemned: bool
    leased_until: datetime


class Blobs(Repository):
    """What the control plane knows about the blob store."""

    def record(self, digest: str, size: int, lease: datetime) -> None:
        """Note that the bytes are there, held until `lease` even when nothing refers to them.

        Raises:
            Unavailable: They are being deleted at this moment: upload them again.
        """
        found = select(BlobRow.state).where(BlobRow.digest == digest)
        state = self._session.scalar(found)
        if state is BlobState.DELETING:
            raise Unavailable(
                f"blob `{digest}` is being deleted at this moment", hint="upload it again"
            )
        if state is None:
            self._add(digest, size, lease)
        else:
            self.hold([digest], lease)

    def known(self, digest: str) -> int | None:
        """Size in bytes of a blob that may be referred to, or null when there is none."""
        return self.sizes([digest]).get(digest)

    def sizes(self, digests: Iterable[str]) -> dict[str, int]:
        """Sizes in bytes of those that are there."""
        return {row.digest: row.size for row in self._there(digests)}

    def unknown(self, digests: Iterable[str]) -> set[str]:
        """Those that nothing was ever noted of: a writer died before it could."""
        strangers = set(digests)
        for chunk in _chunks(strangers):
            query = select(BlobRow.digest).where(BlobRow.digest.in_(chunk))
            strangers.difference_update(self._session.scalars(query))
        return strangers

    def hold(self, digests: Iterable[str], lease: datetime | None = None) -> dict[str, int]:
        """Take blobs off the way out, as something is about to refer to them; their sizes.

        With `lease` they stay off it until then, also when nothing refers to them after all.

        Raises:
            NotFound: Some are not there; `details["missing"]` lists them.
        """
        wanted = set(digests)
        there = {one.digest: one for one in self._there(wanted)}
        missing = sorted(wanted - there.keys())
        if missing:
            raise NotFound(
                f"{len(missing)} blobs are not there, the first is `{missing[0]}`",
                hint="upload the files again",
                details={"missing": missing[:100]},
            )
        self._revive(one.digest for one in there.values() if one.condemned)
        if lease is not None:
            self._lease((one.digest for one in there.values() if one.leased_until < lease), lease)
        return {one.digest: one.size for one in there.values()}

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

    def _add(self, digest: str, size: int, lease: datetime) -> None:
        values = {"digest": digest, "size": size, "state": BlobState.LIVE, "leased_until": lease}
        insert_all(self._session, BlobRow, [{**values, "created_at": self._clock()}])

    def _there(self, digests: Iterable[str]) -> Iterator[_There]:
        query = select(BlobRow.digest, BlobRow.size, BlobRow.state, BlobRow.leased_until)
        for chunk in _chunks(digests):
            found = query.where(BlobRow.digest.in_(chunk), BlobRow.state != BlobState.DELETING)
            for digest, size, state, leased_until in self._session.execute(found):
                yield _There(digest, size, state is BlobState.CONDEMNED, leased_until)

    def _revive(self, digests: Iterable[str]) -> None:
        for chunk in _chunks(digests):
            query = update(BlobRow).where(BlobRow.digest.in_(chunk))
            self._session.execute(query.values(state=BlobState.LIVE, condemned_at=None))

    def _lease(self, digests: Iterable[str], until: datetime) -> None:
        for chunk in _chunks(digests):
            query = update(BlobRow).where(BlobRow.digest.in_(chunk))
            self._session.execute(query.values(leased_until=until))

    def _advance(
        self,
        former: BlobState,
        state: BlobState,
        due: ColumnElement[bool],
        condemned_at: datetime | None = None,
    ) -> None:
        query = update(BlobRow).where(BlobRow.state == former, due, _unreferenced())
        self._session.execute(query.values(state=state, condemned_at=condemned_at))


def _unreferenced() -> ColumnElement[bool]:
    return and_(
        ~exists().where(ModelFileRow.digest == BlobRow.digest),
        ~exists().where(ImageLayerRow.digest == BlobRow.digest),
        ~exists().where(ImageBaseRow.digest == BlobRow.digest),
        ~exists().where(ImageSbomRow.digest == BlobRow.digest),
        ~exists().where(ImageFileRow.digest == BlobRow.digest),
        ~exists().where(LockRow.digest == BlobRow.digest),
        ~exists().where(CompressedLayerRow.digest == BlobRow.digest),
    )


def _chunks(digests: Iterable[str]) -> Iterator[Sequence[str]]:
    ordered = sorted(set(digests))
    for start in range(0, len(ordered), _CHUNK):
        yield ordered[start : start + _CHUNK]
