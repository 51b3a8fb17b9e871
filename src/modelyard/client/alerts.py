"""Alerts: how they stand, and the channels that are told of them."""

from __future__ import annotations

from urllib.parse import quote

from pydantic import TypeAdapter

from modelyard.client.connection import Connection, parse
from modelyard.domain.alert import Alert
from modelyard.domain.channel import Channel, Delivered, NewChannel
from modelyard.domain.validation import compose
from modelyard.schemas import AddChannel

_ALERTS = TypeAdapter(tuple[Alert, ...])
_CHANNELS = TypeAdapter(tuple[Channel, ...])


class Alerts:
    """What is watched. The rules are settings of services, `alerts=["error_rate>5%"]`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self, service: str | None = None) -> tuple[Alert, ...]:
        """How every alert stands, of one service or of all.

        Raises:
            NotFound: There is no such service.
        """
        params = {} if service is None else {"service": service}
        response = self._connection.request("GET", "/alerts", params=params)
        return _ALERTS.validate_json(response.content)

    def channels(self) -> tuple[Channel, ...]:
        """Where messages go, by name, and how that went."""
        response = self._connection.request("GET", "/alerts/channels")
        return _CHANNELS.validate_json(response.content)

    def add_channel(
        self, name: str, *, webhook: str | None = None, email: str | None = None
    ) -> NewChannel:
        """Make a channel; all alerts of the workspace go there.

        Args:
            name: Lower-case letters, digits and dashes.
            webhook: Where to POST messages. The answer has the `secret` that they are signed with:
                it is never shown again.
            email: Who gets them by e-mail.

        Raises:
            Conflict: The name is taken.
            InvalidRequest: Neither or both are given, or messages cannot go there.
        """
        wanted = {"name": name, "webhook": webhook, "email": email}
        given = {field: value for field, value in wanted.items() if value is not None}
        body = compose(AddChannel, given, "the channel")
        response = self._connection.request(
            "POST",
            "/alerts/channels",
            content=body.model_dump_json(exclude_unset=True).encode(),
            headers={"Content-Type": "application/json"},
        )
        return parse(NewChannel, response)

    def delete_channel(self, name: str) -> None:
        """Take a channel away, with what was still to be sent there.

        Raises:
            NotFound: There is none of that name.
            Conflict: The server's settings make it.
        """
        self._connection.request("DELETE", f"/alerts/channels/{quote(name, safe='')}")

    def test_channel(self, name: str) -> Delivered:
        """Send a message to a channel now, once, and say whether it has arrived.

        Raises:
            NotFound: There is none of that name.
        """
        response = self._connection.request("POST", f"/alerts/channels/{quote(name, safe='')}/test")
        return parse(Delivered, response)
