"""How alerts stand, the channels that are told of them, and the messages on their way."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, ForeignKeyConstraint, Index
from sqlalchemy.orm import Mapped, mapped_column

from modelyard.domain.alert import Alert, AlertMessage
from modelyard.domain.alert_findings import Mark
from modelyard.domain.channel import ChannelKind
from modelyard.store.columns import Base, Document, Line, Sequence, one_of
from modelyard.store.rows.shared import sequence


class AlertRow(Base):
    """A rule of a service, and how it stands; it outlives its service until that is told."""

    __tablename__ = "alert"

    workspace: Mapped[str] = mapped_column(ForeignKey("workspace.name"), primary_key=True)
    service: Mapped[str] = mapped_column(primary_key=True)
    rule: Mapped[str] = mapped_column(primary_key=True)
    alert: Mapped[Alert] = mapped_column(Document[Alert](Alert))
    marks: Mapped[tuple[Mark, ...]] = mapped_column(Document[tuple[Mark, ...]](tuple[Mark, ...]))
    """Counts from before that the next look is compared with."""


class AlertChannelRow(Base):
    """Where messages of alerts go, and how that went."""

    __tablename__ = "alert_channel"

    workspace: Mapped[str] = mapped_column(ForeignKey("workspace.name"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[ChannelKind] = mapped_column(one_of(ChannelKind, "channel_kind"))
    address: Mapped[str]
    key_id: Mapped[str]
    """What the key is derived from that signs its messages."""
    created_at: Mapped[datetime]
    delivered: Mapped[int] = mapped_column(Sequence)
    failed: Mapped[int] = mapped_column(Sequence)
    given_up: Mapped[int] = mapped_column(Sequence)
    delivered_at: Mapped[datetime | None]
    error: Mapped[str] = mapped_column(Line())


class AlertMessageRow(Base):
    """A message on its way; one that has arrived stays for a while, to be counted."""

    __tablename__ = "alert_message"
    __table_args__ = (
        ForeignKeyConstraint(
            ["workspace", "channel"],
            ["alert_channel.workspace", "alert_channel.name"],
            ondelete="CASCADE",
        ),
        Index(None, "next_at"),
        Index(None, "workspace", "channel", "created_at"),
    )

    seq: Mapped[int] = sequence()
    id: Mapped[UUID] = mapped_column(unique=True)
    workspace: Mapped[str]
    channel: Mapped[str]
    service: Mapped[str]
    rule: Mapped[str]
    message: Mapped[AlertMessage] = mapped_column(Document[AlertMessage](AlertMessage))
    created_at: Mapped[datetime]
    attempts: Mapped[int]
    next_at: Mapped[datetime | None]
    """When it is to be tried; null: it has arrived, or was given up."""
