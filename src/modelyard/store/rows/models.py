"""Models, their files and labels."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from modelyard.domain.model import Imports, ModelFormat
from modelyard.store.columns import Base, Document, Json, Sequence, one_of
from modelyard.store.rows.shared import DIGEST, LabelKind, of_workspace, sequence


class ModelRow(Base):
    """One version of a model."""

    __tablename__ = "model"
    __table_args__ = (
        UniqueConstraint("workspace", "name", "version"),
        Index(None, "workspace", "name", "seq"),
        CheckConstraint("version >= 1", name="version"),
        Index(None, "workspace", "seq"),
        Index(None, "workspace", "framework", "seq"),
        {"sqlite_autoincrement": True},
    )

    seq: Mapped[int] = sequence()
    id: Mapped[UUID] = mapped_column(unique=True)
    workspace: Mapped[str] = of_workspace()
    name: Mapped[str]
    version: Mapped[int]
    format: Mapped[ModelFormat] = mapped_column(one_of(ModelFormat, "format"))
    framework: Mapped[str | None]
    framework_version: Mapped[str | None]
    imports: Mapped[Imports | None] = mapped_column(Document(Imports))
    description: Mapped[str]
    sample_input: Mapped[Any] = mapped_column(Json(), nullable=True)
    words: Mapped[str]
    created_at: Mapped[datetime]
    created_by: Mapped[str]


class ModelFileRow(Base):
    """One file of a model."""

    __tablename__ = "model_file"
    __table_args__ = (UniqueConstraint("model", "path"),)

    model: Mapped[int] = mapped_column(
        ForeignKey("model.seq", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(primary_key=True)
    path: Mapped[str]
    digest: Mapped[str] = mapped_column(DIGEST, ForeignKey("blob.digest"), index=True)
    size: Mapped[int] = mapped_column(Sequence)


class ModelLabelRow(Base):
    """A tag or a property of a model."""

    __tablename__ = "model_label"
    __table_args__ = (
        Index(None, "workspace", "kind", "key", "value", "owner"),
        Index(None, "workspace", "kind", "key", "owner"),
    )

    owner: Mapped[int] = mapped_column(
        ForeignKey("model.seq", ondelete="CASCADE"), primary_key=True
    )
    kind: Mapped[LabelKind] = mapped_column(one_of(LabelKind, "kind"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]
    workspace: Mapped[str] = of_workspace()
