"""What every way of sending is."""

from __future__ import annotations

from typing import Protocol

from modelyard.domain.alert import AlertMessage
from modelyard.store.alerts import Route

PATIENCE = 15.0
"""Seconds that sending one message may take."""

RESTART = (
    "the server reads its settings when it starts: set it, say `modelyard server stop`, and the "
    "next command starts it again"
)
"""What to do after a setting that is missing was named."""


class NotSent(Exception):
    """A message has not arrived, as far as anybody knows; the text says why, without secrets."""


class Sender(Protocol):
    """Brings messages to the channels of one kind."""

    def send(self, route: Route, message: AlertMessage) -> None:
        """Return when it has arrived.

        Raises:
            NotSent: It has not, or nobody knows.
        """
        ...
