"""How alerts stand, the channels that are told, and the messages that are on their way to them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import delete, func, select

from modelyard.domain.alert import Alert, AlertMessage, Notice
from modelyard.domain.alert_findings import Mark
from modelyard.domain.channel import Channel, ChannelKind
from modelyard.errors import Conflict, NotFound
from modelyard.store.repository import Repository
from modelyard.store.rows import AlertChannelRow, AlertMessageRow, AlertRow

_FIELDS = tuple(name for name in Channel.model_fields if name != "waiting")


class Standing(NamedTuple):
    """An alert, and counts from before that its next look is compared with."""

    alert: Alert
    marks: tuple[Mark, ...] = ()


class Route(NamedTuple):
    """A channel with all that it takes to send something there."""

    workspace: str
    name: str
    kind: ChannelKind
    address: str
    key_id: str


class Parcel(NamedTuple):
    """A message that is to be sent now."""

    route: Route
    message: AlertMessage
    created_at: datetime
    attempts: int
    """Those that were in vain."""


class Alerts(Repository):
    """Alerts by workspace, service and rule; channels by workspace and name; messages."""

    def standing(self) -> dict[tuple[str, str, str], Standing]:
        """All alerts, by workspace, service and rule."""
        rows = self._session.scalars(select(AlertRow))
        return {
            (row.workspace, row.service, row.rule): Standing(row.alert, row.marks) for row in rows
        }

    def list(self, workspace: str, service: str | None = None) -> tuple[Alert, ...]:
        """The alerts of a workspace, or of one of its services, by service and rule."""
        query = select(AlertRow.alert).where(AlertRow.workspace == workspace)
        if service is not None:
            query = query.where(AlertRow.service == service)
        return tuple(self._session.scalars(query.order_by(AlertRow.service, AlertRow.rule)))

    def keep(self, workspace: str, standing: Standing) -> None:
        """An alert stands so from now on."""
        alert, marks = standing
        self._session.merge(
            AlertRow(
                workspace=workspace,
                service=alert.service,
                rule=alert.rule,
                alert=alert,
                marks=marks,
            )
        )
        self._session.flush()

    def drop(self, workspace: str, service: str, rule: str) -> None:
        """A rule is watched no more."""
        self._session.execute(
            delete(AlertRow).where(
                AlertRow.workspace == workspace, AlertRow.service == service, AlertRow.rule == rule
            )
        )

    def add_channel(
        self, workspace: str, name: str, kind: ChannelKind, address: str, key_id: str
    ) -> Channel:
        """Make a channel.

        Raises:
            Conflict: The name is taken.
        """
        if self._session.get(AlertChannelRow, (workspace, name)) is not None:
            raise Conflict(
                f"there is a channel `{name}` already",
                hint=f"take another name, or delete it: `modelyard alert channel delete {name}`",
            )
        row = AlertChannelRow(
            workspace=workspace,
            name=name,
            kind=kind,
            address=address,
            key_id=key_id,
            created_at=self._clock(),
            delivered=0,
            failed=0,
            given_up=0,
            error="",
        )
        self._session.add(row)
        self._session.flush()
        return _channel(row, 0)

    def change_address(self, workspace: str, name: str, address: str) -> None:
        """A channel goes elsewhere from now on."""
        self._channel(workspace, name).address = address
        self._session.flush()

    def channels(self, workspace: str) -> tuple[Channel, ...]:
        """The channels of a workspace, by name."""
        query = select(AlertChannelRow).where(AlertChannelRow.workspace == workspace)
        rows = self._session.scalars(query.order_by(AlertChannelRow.name)).all()
        counts = select(AlertMessageRow.channel, func.count()).where(
            AlertMessageRow.workspace == workspace, AlertMessageRow.next_at.is_not(None)
        )
        waiting = dict(self._session.execute(counts.group_by(AlertMessageRow.channel)).all())
        return tuple(_channel(row, waiting.get(row.name, 0)) for row in rows)

    def route(self, workspace: str, name: str) -> Route:
        """How something gets to a channel.

        Raises:
            NotFound: There is none of that name.
        """
        return _route(self._channel(workspace, name))

    def delete_channel(self, workspace: str, name: str) -> None:
        """Take a channel away, with what was still to be sent there.

        Raises:
            NotFound: There is none of that name.
        """
        self._session.delete(self._channel(workspace, name))
        self._session.flush()

    def post(self, workspace: str, channel: str, message: AlertMessage) -> None:
        """Have a message sent; what waits for the channel of the same alert is older news."""
        self._session.execute(
            delete(AlertMessageRow).where(
                AlertMessageRow.workspace == workspace,
                AlertMessageRow.channel == channel,
                AlertMessageRow.service == message.service,
                AlertMessageRow.rule == message.rule,
                AlertMessageRow.next_at.is_not(None),
            )
        )
        self._session.add(
            AlertMessageRow(
                id=message.id,
                workspace=workspace,
                channel=channel,
                service=message.service,
                rule=message.rule,
                message=message,
                created_at=message.at,
                attempts=0,
                next_at=self._clock(),
            )
        )
        self._session.flush()

    def posted(self, workspace: str, channel: str, since: datetime) -> int:
        """How many messages that something fires a channel was given since then."""
        query = select(AlertMessageRow.message).where(
            AlertMessageRow.workspace == workspace,
            AlertMessageRow.channel == channel,
            AlertMessageRow.created_at > since,
        )
        return sum(message.type is Notice.FIRING for message in self._session.scalars(query))

    def due(self, most: int) -> tuple[Parcel, ...]:
        """Messages that are to be sent now, oldest first.

        Args:
            most: Of each channel: one that nothing gets to must not hide the others.
        """
        columns = (AlertMessageRow.workspace, AlertMessageRow.channel)
        place = func.row_number().over(partition_by=columns, order_by=AlertMessageRow.seq)
        waiting = (
            select(AlertMessageRow.seq, place.label("place"))
            .where(AlertMessageRow.next_at <= self._clock())
            .subquery()
        )
        query = (
            select(AlertMessageRow, AlertChannelRow)
            .join(waiting, waiting.c.seq == AlertMessageRow.seq)
            .join(
                AlertChannelRow,
                (AlertChannelRow.workspace == AlertMessageRow.workspace)
                & (AlertChannelRow.name == AlertMessageRow.channel),
            )
            .where(waiting.c.place <= most)
            .order_by(AlertMessageRow.seq)
        )
        return tuple(
            Parcel(_route(channel), row.message, row.created_at, row.attempts)
            for row, channel in self._session.execute(query)
        )

    def next_at(self) -> datetime | None:
        """When the next message is to be sent; None: none waits."""
        query = select(func.min(AlertMessageRow.next_at))
        return self._session.scalar(query)

    def arrived(self, message: UUID) -> None:
        """A message has arrived."""
        row = self._message(message)
        if row is not None:
            row.next_at = None
            channel = self._channel(row.workspace, row.channel)
            channel.delivered += 1
            channel.delivered_at, channel.error = self._clock(), ""
            self._session.flush()

    def failed(self, message: UUID, error: str, again: timedelta | None) -> None:
        """A message has not arrived; it is tried again after a time, or given up."""
        row = self._message(message)
        if row is not None:
            row.attempts += 1
            row.next_at = None if again is None else self._clock() + again
            channel = self._channel(row.workspace, row.channel)
            channel.failed += 1
            channel.given_up += again is None
            channel.error = error
            self._session.flush()

    def expire(self, before: datetime) -> None:
        """Forget messages from before this that are not on their way any more."""
        self._session.execute(
            delete(AlertMessageRow).where(
                AlertMessageRow.created_at < before, AlertMessageRow.next_at.is_(None)
            )
        )

    def _message(self, message: UUID) -> AlertMessageRow | None:
        """A message on its way; None where its channel is gone, or newer news took its place."""
        query = select(AlertMessageRow).where(AlertMessageRow.id == message)
        return self._session.scalar(query)

    def _channel(self, workspace: str, name: str) -> AlertChannelRow:
        row = self._session.get(AlertChannelRow, (workspace, name))
        if row is None:
            raise NotFound(
                f"there is no channel `{name[:100]}`",
                hint="`modelyard alert channel list` shows those that there are",
            )
        return row


def _route(row: AlertChannelRow) -> Route:
    return Route(row.workspace, row.name, row.kind, row.address, row.key_id)


def _channel(row: AlertChannelRow, waiting: int) -> Channel:
    return Channel(waiting=waiting, **{name: getattr(row, name) for name in _FIELDS})
