"""Channels: where messages of alerts go."""

from __future__ import annotations

import base64
import hmac
import re
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator

from modelyard.domain.values import SERVICE_NAME_PATTERN, Value


def _one_name(text: str) -> str:
    if not re.fullmatch(SERVICE_NAME_PATTERN, text):
        raise ValueError(
            "the name of a channel is made of lower-case letters, digits and dashes, begins with a "
            "letter, and is 3 to 32 characters long"
        )
    return text


ChannelName = Annotated[str, AfterValidator(_one_name)]
"""Name of a channel: lower-case letters, digits, dashes; starts with a letter; 3 to 32 long."""

COMMAND_CHANNEL = "command"
"""Name of the channel that the server's settings make, and nobody else."""


class ChannelKind(StrEnum):
    """How a message goes."""

    WEBHOOK = "webhook"
    """An HTTP POST, signed."""
    EMAIL = "email"
    COMMAND = "command"
    """A program on the server's host, from its settings."""


def _one_address(text: str) -> str:
    local = text.rpartition("@")[0]
    if len(text) > 254 or len(local) > 64 or not _EMAIL.fullmatch(text):
        raise ValueError("this is not an e-mail address: write one alone, `name@example.org`")
    return text


_EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")
EmailAddress = Annotated[str, AfterValidator(_one_address)]
"""One address, as it stands in a header."""


def _one_url(text: str) -> str:
    text = text.strip()
    if len(text) > 2000 or not re.fullmatch(r"https?://[!-~]+", text):
        raise ValueError(
            "this is not the URL of a webhook: write `https://host/path`, without spaces, of 2,000 "
            "characters at most"
        )
    return text


WebhookUrl = Annotated[str, AfterValidator(_one_url)]
"""Where to POST; `https://…`."""


class Channel(Value):
    """Where messages go, and how that went."""

    name: str
    kind: ChannelKind
    address: str
    """Of a webhook its scheme and host only, because the rest of it may be a secret."""
    created_at: datetime
    delivered: int = 0
    """Messages that arrived."""
    failed: int = 0
    """Attempts that did not; each is repeated for a day."""
    given_up: int = 0
    """Messages that never arrived."""
    waiting: int = 0
    """Messages that are to be sent."""
    delivered_at: datetime | None = None
    error: str = ""
    """What went wrong last; empty once a message has arrived since."""


class NewChannel(Channel):
    """A channel that was just made."""

    secret: str = ""
    """What a webhook's messages are signed with; it is never shown again."""


class Delivered(Value):
    """What became of a message that was sent to try a channel."""

    channel: str
    delivered: bool
    error: str = ""


def webhook_key(master: bytes, key_id: str) -> bytes:
    """The key that a channel's messages are signed with: derived, so that it is stored nowhere."""
    return hmac.digest(master, f"webhook:{key_id}".encode(), "sha256")


def webhook_secret(key: bytes) -> str:
    """A key as it is written: as Standard Webhooks have it."""
    return f"whsec_{base64.b64encode(key).decode()}"


def webhook_signature(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """What proves that a message is from here, and when it was sent."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return f"v1,{base64.b64encode(hmac.digest(key, signed, 'sha256')).decode()}"
