"""Agents, and the logs that they send home."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from modelyard.domain.observed import ObservedState
from modelyard.store.columns import Base, Document, Line, Sequence
from modelyard.store.rows.shared import of_workspace, sequence


class AgentRow(Base):
    """One host's agent."""

    __tablename__ = "agent"

    name: Mapped[str] = mapped_column(primary_key=True)
    workspace: Mapped[str] = of_workspace()
    fence: Mapped[int]
    generation: Mapped[int]
    last_seen: Mapped[datetime | None]
    observed: Mapped[ObservedState | None] = mapped_column(Document(ObservedState))
    created_at: Mapped[datetime]


class LogStreamRow(Base):
    """The log of one replica: what is expected next, what is kept, what was dropped."""

    __tablename__ = "log_stream"
    __table_args__ = (UniqueConstraint("service", "replica"), {"sqlite_autoincrement": True})

    seq: Mapped[int] = sequence()
    service: Mapped[int] = mapped_column(ForeignKey("service.seq", ondelete="CASCADE"))
    replica: Mapped[str]
    epoch: Mapped[int] = mapped_column(Sequence)
    next: Mapped[int] = mapped_column(Sequence)
    kept: Mapped[int] = mapped_column(Sequence)
    dropped: Mapped[int] = mapped_column(Sequence)
    updated_at: Mapped[datetime]


class LogPieceRow(Base):
    """Some lines of a replica's log; `first` numbers the first of them within the service."""

    __tablename__ = "log_piece"
    __table_args__ = (Index(None, "stream", "first"),)

    service: Mapped[int] = mapped_column(
        ForeignKey("service.seq", ondelete="CASCADE"), primary_key=True
    )
    first: Mapped[int] = mapped_column(Sequence, primary_key=True)
    lines: Mapped[int]
    stream: Mapped[int] = mapped_column(ForeignKey("log_stream.seq", ondelete="CASCADE"))
    text: Mapped[str] = mapped_column(Line())
    size: Mapped[int]
    time: Mapped[datetime]
