"""Workspaces, their callers, and the numbers given to names."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from modelyard.domain.principal import Role
from modelyard.store.columns import Base, one_of
from modelyard.store.rows.shared import of_workspace


class Versioned(StrEnum):
    """What has numbered versions."""

    MODEL = "model"
    IMAGE = "image"


class WorkspaceRow(Base):
    """A tenant."""

    __tablename__ = "workspace"

    name: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]


class PrincipalRow(Base):
    """A caller."""

    __tablename__ = "principal"
    __table_args__ = (UniqueConstraint("workspace", "name"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    workspace: Mapped[str] = of_workspace()
    name: Mapped[str]
    role: Mapped[Role] = mapped_column(one_of(Role, "role"))
    token_hash: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime]


class CounterRow(Base):
    """The last version given to a name. It outlives the versions, so no number comes twice."""

    __tablename__ = "version_counter"

    workspace: Mapped[str] = mapped_column(ForeignKey("workspace.name"), primary_key=True)
    kind: Mapped[Versioned] = mapped_column(one_of(Versioned, "kind"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    last: Mapped[int]
