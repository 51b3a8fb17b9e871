"""Services: what is wanted of each, its history, keys, labels and figures."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from modelyard.domain.cause import Cause
from modelyard.domain.change import ChangeOutcome
from modelyard.domain.rollout import Rollout
from modelyard.domain.service import KeySlot, ServiceSettings, ServiceStatus
from modelyard.store.columns import Base, Document, Sequence, one_of
from modelyard.store.rows.shared import LabelKind, of_workspace, sequence
from modelyard_runtime.families import Figures


class ServiceRow(Base):
    """A service, as it is wanted and as it was last seen."""

    __tablename__ = "service"
    __table_args__ = (
        UniqueConstraint("workspace", "name"),
        Index(None, "workspace", "seq"),
        {"sqlite_autoincrement": True},
    )

    seq: Mapped[int] = sequence()
    id: Mapped[UUID] = mapped_column(unique=True)
    workspace: Mapped[str] = of_workspace()
    name: Mapped[str]
    target: Mapped[str]
    agent: Mapped[str] = mapped_column(ForeignKey("agent.name"), index=True)
    image: Mapped[int] = mapped_column(ForeignKey("image.seq"), index=True)
    settings: Mapped[ServiceSettings] = mapped_column(Document(ServiceSettings))
    rollout: Mapped[Rollout | None] = mapped_column(Document(Rollout))
    generation: Mapped[int]
    deleting: Mapped[bool]
    status: Mapped[ServiceStatus] = mapped_column(Document(ServiceStatus))
    description: Mapped[str]
    words: Mapped[str]
    log_lines: Mapped[int] = mapped_column(Sequence, default=0)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    created_by: Mapped[str]


class DeploymentRow(Base):
    """One image of a service; `settings` are the whole service's while it was the wanted one."""

    __tablename__ = "deployment"
    __table_args__ = (CheckConstraint("weight BETWEEN 0 AND 100", name="weight"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    service: Mapped[int] = mapped_column(ForeignKey("service.seq", ondelete="CASCADE"), index=True)
    image: Mapped[int] = mapped_column(ForeignKey("image.seq"), index=True)
    settings: Mapped[ServiceSettings] = mapped_column(Document(ServiceSettings))
    weight: Mapped[int]
    served: Mapped[int] = mapped_column(default=0, server_default="0")
    """Its weight in the last state of the service that was reached; 0: it was not in that."""
    generation: Mapped[int]
    created_at: Mapped[datetime]


class ServiceChangeRow(Base):
    """What a service was asked to be from one generation on, and what became of it.

    The image is kept by name: history forbids no delete.
    """

    __tablename__ = "service_change"

    service: Mapped[int] = mapped_column(
        ForeignKey("service.seq", ondelete="CASCADE"), primary_key=True
    )
    generation: Mapped[int] = mapped_column(primary_key=True)
    image: Mapped[str]
    settings: Mapped[ServiceSettings] = mapped_column(Document(ServiceSettings))
    traffic: Mapped[dict[str, int]] = mapped_column(Document(dict[str, int]), server_default="{}")
    rollout: Mapped[str] = mapped_column(server_default="")
    at: Mapped[datetime]
    by: Mapped[str]
    outcome: Mapped[ChangeOutcome] = mapped_column(one_of(ChangeOutcome, "outcome"))
    reason: Mapped[str]
    cause: Mapped[Cause | None] = mapped_column(Document(Cause))


class ServiceKeyRow(Base):
    """What recognises a key of a service."""

    __tablename__ = "service_key"

    service: Mapped[int] = mapped_column(
        ForeignKey("service.seq", ondelete="CASCADE"), primary_key=True
    )
    slot: Mapped[KeySlot] = mapped_column(one_of(KeySlot, "slot"), primary_key=True)
    key_id: Mapped[str] = mapped_column(unique=True)
    hash: Mapped[str]
    token_key: Mapped[str] = mapped_column(server_default="")
    """Empty for keys that are older than tokens."""


class ServiceLabelRow(Base):
    """A tag or a property of a service."""

    __tablename__ = "service_label"
    __table_args__ = (
        Index(None, "workspace", "kind", "key", "value", "owner"),
        Index(None, "workspace", "kind", "key", "owner"),
    )

    owner: Mapped[int] = mapped_column(
        ForeignKey("service.seq", ondelete="CASCADE"), primary_key=True
    )
    kind: Mapped[LabelKind] = mapped_column(one_of(LabelKind, "kind"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]
    workspace: Mapped[str] = of_workspace()


class ServiceMinuteRow(Base):
    """What one deployment of a service counted in one minute.

    Deployments and images are kept by name: they may be gone.
    """

    __tablename__ = "service_minute"

    service: Mapped[int] = mapped_column(
        ForeignKey("service.seq", ondelete="CASCADE"), primary_key=True
    )
    at: Mapped[datetime] = mapped_column(primary_key=True, index=True)
    deployment: Mapped[str] = mapped_column(primary_key=True)
    """Empty: what the gateway answered without one."""
    image: Mapped[str]
    figures: Mapped[Figures] = mapped_column(Document(Figures))
