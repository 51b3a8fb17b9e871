"""What agents send home of captured requests."""

from __future__ import annotations

import datetime as dates
from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, LargeBinary, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from modelyard.store.columns import Base, Json, Sequence
from modelyard.store.rows.shared import DIGEST, of_workspace, sequence


class CaptureStreamRow(Base):
    """What an agent sends of captured records: which number is expected next."""

    __tablename__ = "capture_stream"

    agent: Mapped[str] = mapped_column(
        ForeignKey("agent.name", ondelete="CASCADE"), primary_key=True
    )
    epoch: Mapped[int] = mapped_column(Sequence)
    next: Mapped[int] = mapped_column(Sequence)
    waiting: Mapped[dict[str, int]] = mapped_column(Json())
    """Segments that were still on the host at the last report, by the id of their service."""
    reported_at: Mapped[datetime | None]


class CaptureSegmentRow(Base):
    """A file of captured records. It outlives its service: the records belong to the workspace.

    The row stays when the file is deleted, so that the same segment is never taken in twice. One
    whose records are in another file now is deleted, and has no rows and requests of its own.
    """

    __tablename__ = "capture_segment"
    __table_args__ = (
        UniqueConstraint("workspace", "name"),
        Index(None, "workspace", "service_name", "first"),
        Index(None, "workspace", "service"),
        {"sqlite_autoincrement": True},
    )

    seq: Mapped[int] = sequence()
    workspace: Mapped[str] = of_workspace()
    name: Mapped[str]
    service: Mapped[UUID]
    service_name: Mapped[str]
    model: Mapped[str]
    version: Mapped[int]
    image: Mapped[str]
    date: Mapped[dates.date]
    rows: Mapped[int] = mapped_column(Sequence)
    first: Mapped[datetime]
    last: Mapped[datetime]
    size: Mapped[int] = mapped_column(Sequence)
    digest: Mapped[str] = mapped_column(DIGEST)
    requests: Mapped[int] = mapped_column(Sequence)
    forgotten: Mapped[int] = mapped_column(Sequence, server_default="0")
    """Requests whose records were taken out of the file."""
    deleted: Mapped[bool]
    sketched: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Its rows are in the sketches of their day."""


class CaptureForgottenFieldRow(Base):
    """A field by which records of a service were found that are forgotten; never a value of it."""

    __tablename__ = "capture_forgotten_field"

    workspace: Mapped[str] = mapped_column(ForeignKey("workspace.name"), primary_key=True)
    service_name: Mapped[str] = mapped_column(primary_key=True)
    field: Mapped[str] = mapped_column(primary_key=True)


class CaptureTallyRow(Base):
    """What one writer has counted of the requests to a service."""

    __tablename__ = "capture_tally"
    __table_args__ = (Index(None, "workspace", "service_name"),)

    workspace: Mapped[str] = mapped_column(ForeignKey("workspace.name"), primary_key=True)
    id: Mapped[str] = mapped_column(primary_key=True)
    service: Mapped[UUID]
    service_name: Mapped[str]
    answered: Mapped[int] = mapped_column(Sequence)
    captured: Mapped[int] = mapped_column(Sequence)
    sampled_out: Mapped[int] = mapped_column(Sequence)
    dropped: Mapped[int] = mapped_column(Sequence)


class CaptureSketchRow(Base):
    """What is kept of the rows that a model version has answered in an hour, or on a day."""

    __tablename__ = "capture_sketch"

    workspace: Mapped[str] = mapped_column(ForeignKey("workspace.name"), primary_key=True)
    service_name: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    hours: Mapped[int] = mapped_column(primary_key=True)
    """How long it is: 1 or 24."""
    begins: Mapped[datetime] = mapped_column(primary_key=True)
    rows: Mapped[int] = mapped_column(Sequence)
    sketch: Mapped[bytes] = mapped_column(LargeBinary)


class DriftBaselineRow(Base):
    """What is kept of the rows that a model version was made for."""

    __tablename__ = "drift_baseline"

    workspace: Mapped[str] = mapped_column(ForeignKey("workspace.name"), primary_key=True)
    service_name: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    rows: Mapped[int] = mapped_column(Sequence)
    features: Mapped[list[str]] = mapped_column(Json())
    at: Mapped[datetime]
    sketch: Mapped[bytes] = mapped_column(LargeBinary)
