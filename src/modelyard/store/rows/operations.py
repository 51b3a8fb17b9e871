"""Operations with their logs, and answers that are given again."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from modelyard.domain.operation import OperationKind, OperationState
from modelyard.store.columns import Base, Json, Line, one_of
from modelyard.store.rows.shared import of_workspace, sequence


class OperationRow(Base):
    """A long-running request."""

    __tablename__ = "operation"
    __table_args__ = (
        Index(None, "workspace", "seq"),
        Index(None, "workspace", "resource", "seq"),
        Index(None, "state"),
        {"sqlite_autoincrement": True},
    )

    seq: Mapped[int] = sequence()
    id: Mapped[UUID] = mapped_column(unique=True)
    workspace: Mapped[str] = of_workspace()
    kind: Mapped[OperationKind] = mapped_column(one_of(OperationKind, "kind"))
    state: Mapped[OperationState] = mapped_column(one_of(OperationState, "state"))
    resource: Mapped[str]
    error: Mapped[Any] = mapped_column(Json(), nullable=True)
    result: Mapped[Any] = mapped_column(Json(), nullable=True)
    log_lines: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    created_by: Mapped[str]


class OperationLineRow(Base):
    """One line of an operation's log."""

    __tablename__ = "operation_line"

    operation: Mapped[int] = mapped_column(
        ForeignKey("operation.seq", ondelete="CASCADE"), primary_key=True
    )
    sequence: Mapped[int] = mapped_column(primary_key=True)
    time: Mapped[datetime]
    source: Mapped[str] = mapped_column(Line())
    text: Mapped[str] = mapped_column(Line())


class IdempotencyRow(Base):
    """What a request with an idempotency key was answered."""

    __tablename__ = "idempotency"
    __table_args__ = (Index(None, "created_at"),)

    workspace: Mapped[str] = mapped_column(ForeignKey("workspace.name"), primary_key=True)
    principal: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_hash: Mapped[str]
    answer: Mapped[str]
    created_at: Mapped[datetime]
