"""Alerts and channels: what callers may see and change. Who looks and who sends is beside it."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from uuid import uuid4

from modelyard.control.sending.base import RESTART, NotSent, Sender
from modelyard.control.sending.webhook import read_url, shown
from modelyard.domain.alert import Alert, AlertMessage, AlertState, Notice
from modelyard.domain.channel import (
    COMMAND_CHANNEL,
    Channel,
    ChannelKind,
    Delivered,
    NewChannel,
    webhook_key,
    webhook_secret,
)
from modelyard.domain.figures import label_text
from modelyard.domain.principal import Principal
from modelyard.errors import Conflict, InvalidRequest
from modelyard.schemas import AddChannel
from modelyard.store import Database
from modelyard_runtime.families import Figures

_MOST_CHANNELS = 50


class Alerts:
    """What callers may do with alerts.

    Args:
        database: Where they are.
        senders: How messages go, by the kind of channel; those that the server has settings for.
        master: What the keys of channels are derived from.
        private: Hosts that webhooks may go to although they are not public.
    """

    def __init__(
        self,
        database: Database,
        senders: Mapping[ChannelKind, Sender],
        master: bytes,
        private: Collection[str],
    ) -> None:
        self._database = database
        self._senders = senders
        self._master = master
        self._private = private

    def list(self, principal: Principal, service: str | None = None) -> tuple[Alert, ...]:
        """How every alert stands, of one service or of all.

        Raises:
            NotFound: There is no such service.
        """
        with self._database.read() as tx:
            if service is not None:
                tx.services.get(principal.workspace, service)
            return tx.alerts.list(principal.workspace, service)

    def channels(self, principal: Principal) -> tuple[Channel, ...]:
        """Where messages go, by name."""
        with self._database.read() as tx:
            return tuple(map(_discreet, tx.alerts.channels(principal.workspace)))

    def add_channel(self, principal: Principal, wanted: AddChannel) -> NewChannel:
        """Make a channel; the secret of a webhook is in the answer, and nowhere else.

        Raises:
            Conflict: The name is taken, or there are too many.
            InvalidRequest: Messages cannot go there.
        """
        if wanted.name == COMMAND_CHANNEL:
            raise InvalidRequest(
                f"`{COMMAND_CHANNEL}` is the name of the server's own channel",
                hint="take another name; what runs on the server is its setting "
                "MODELYARD_ALERT_COMMAND",
            )
        kind, address = self._address(wanted)
        key_id = secrets.token_hex(8)
        with self._database.write() as tx:
            if len(tx.alerts.channels(principal.workspace)) >= _MOST_CHANNELS:
                raise Conflict(
                    f"there are {_MOST_CHANNELS} channels already",
                    hint="delete one: `modelyard alert channel list` shows them",
                )
            made = tx.alerts.add_channel(principal.workspace, wanted.name, kind, address, key_id)
        is_signed = kind is ChannelKind.WEBHOOK
        secret = webhook_secret(webhook_key(self._master, key_id)) if is_signed else ""
        return NewChannel(**_discreet(made).model_dump(), secret=secret)

    def delete_channel(self, principal: Principal, name: str) -> None:
        """Take a channel away, with what was still to be sent there.

        Raises:
            NotFound: There is none of that name.
            Conflict: The server's settings make it.
        """
        with self._database.write() as tx:
            if tx.alerts.route(principal.workspace, name).kind is ChannelKind.COMMAND:
                raise Conflict(
                    f"the channel `{name}` is made by the server's settings",
                    hint="say `modelyard server stop`, and start it again without "
                    "MODELYARD_ALERT_COMMAND",
                )
            tx.alerts.delete_channel(principal.workspace, name)

    def test_channel(self, principal: Principal, name: str) -> Delivered:
        """Send a message to a channel now, once.

        Raises:
            NotFound: There is none of that name.
        """
        with self._database.read() as tx:
            route = tx.alerts.route(principal.workspace, name)
        now = datetime.now(UTC)
        message = AlertMessage(
            id=uuid4(),
            type=Notice.TEST,
            workspace=principal.workspace,
            service="none",
            rule="test",
            at=now,
            since=now,
            text="This is a test: alerts of Modelyard arrive here.",
        )
        sender = self._senders.get(route.kind)
        try:
            if sender is None:
                raise NotSent("the server has no mail server any more")
            sender.send(route, message)
        except NotSent as error:
            return Delivered(channel=name, delivered=False, error=str(error))
        return Delivered(channel=name, delivered=True)

    def ensure_command(self, workspace: str, command: tuple[str, ...] | None) -> None:
        """Make the channel of the server's own command, or take it away; at start."""
        with self._database.write() as tx:
            known = {one.name for one in tx.alerts.channels(workspace)}
            if not command:
                if COMMAND_CHANNEL in known:
                    tx.alerts.delete_channel(workspace, COMMAND_CHANNEL)
            elif COMMAND_CHANNEL in known:
                tx.alerts.change_address(workspace, COMMAND_CHANNEL, command[0])
            else:  # its arguments may be secrets
                tx.alerts.add_channel(
                    workspace, COMMAND_CHANNEL, ChannelKind.COMMAND, command[0], key_id=""
                )

    def figures(self, principal: Principal) -> Figures:
        """What the server tells of alerts."""
        with self._database.read() as tx:
            alerts = tx.alerts.list(principal.workspace)
            channels = tx.alerts.channels(principal.workspace)
        return {
            "modelyard_alert_firing": {
                label_text(service=alert.service, rule=alert.rule): [
                    float(alert.state is AlertState.FIRING)
                ]
                for alert in alerts
            },
            "modelyard_alert_messages_total": {
                label_text(channel=channel.name, outcome=outcome): [float(count)]
                for channel in channels
                for outcome, count in (
                    ("delivered", channel.delivered),
                    ("failed", channel.failed),
                    ("given_up", channel.given_up),
                )
            },
        }

    def _address(self, wanted: AddChannel) -> tuple[ChannelKind, str]:
        if wanted.webhook is not None:
            read_url(wanted.webhook, self._private)
            return ChannelKind.WEBHOOK, wanted.webhook
        if ChannelKind.EMAIL not in self._senders:
            raise InvalidRequest(
                "the server has no mail server to send e-mail with",
                hint=f"it needs MODELYARD_ALERT_SMTP and MODELYARD_ALERT_SMTP_FROM; {RESTART}",
            )
        return ChannelKind.EMAIL, str(wanted.email)


def _discreet(channel: Channel) -> Channel:
    if channel.kind is not ChannelKind.WEBHOOK:
        return channel
    return channel.model_copy(update={"address": shown(channel.address)})
