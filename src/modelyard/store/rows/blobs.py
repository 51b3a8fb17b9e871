"""What is in the blob store, and how it is kept."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from modelyard.store.columns import Base, Sequence, one_of
from modelyard.store.rows.shared import DIGEST


class BlobState(StrEnum):
    """Where a blob stands on its way out."""

    LIVE = "live"
    CONDEMNED = "condemned"
    DELETING = "deleting"


class BlobRow(Base):
    """Bytes in the blob store."""

    __tablename__ = "blob"
    __table_args__ = (
        CheckConstraint("length(digest) = 71", name="digest"),
        CheckConstraint("size >= 0", name="size"),
        Index(None, "state", "leased_until"),
    )

    digest: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    size: Mapped[int] = mapped_column(Sequence)
    state: Mapped[BlobState] = mapped_column(one_of(BlobState, "state"))
    leased_until: Mapped[datetime]
    condemned_at: Mapped[datetime | None]
    created_at: Mapped[datetime]


class CompressedLayerRow(Base):
    """The blob that holds a layer in gzip. It goes with the layer."""

    __tablename__ = "compressed_layer"

    layer: Mapped[str] = mapped_column(
        DIGEST, ForeignKey("blob.digest", ondelete="CASCADE"), primary_key=True
    )
    digest: Mapped[str] = mapped_column(DIGEST, ForeignKey("blob.digest"), index=True)
    size: Mapped[int] = mapped_column(Sequence)
    created_at: Mapped[datetime]
