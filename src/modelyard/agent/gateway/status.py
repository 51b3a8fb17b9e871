"""What a gateway says about itself, in a file that the agent reads."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from modelyard.files import replace_file

_log = logging.getLogger("modelyard.gateway")


@dataclass(frozen=True, slots=True)
class RefusedRequests:
    """Requests to one service that nobody was let in with, since the gateway started."""

    count: int
    last_at: str
    """When the last one came: ISO 8601, UTC."""
    key_id: str | None
    """Public part of the key that came last; null when there was none, or it was no key."""
    client: str | None = None
    """A name in the certificate that came last; null when there was none that is good."""


@dataclass(frozen=True, slots=True)
class GatewayStatus:
    """How a gateway is doing."""

    pid: int
    started_at: str
    """ISO 8601, UTC."""
    version: str = ""
    """Of Modelyard."""
    arguments: tuple[str, ...] = ()
    """Of its command line."""
    processes: tuple[int, ...] = ()
    """Ids of the processes that serve; `pid` is their parent's."""
    url: str | None = None
    """Where it listens; null while it does not."""
    config_version: int = 0
    """Version of the configuration it serves; 0 before the first."""
    config_error: str | None = None
    """Why it serves an older configuration than the one in its folder."""
    clients_error: str = ""
    """Why it goes on with older authorities and lists for clients than those in the files, if it
    has any; empty when it does not."""
    cause: dict[str, Any] | None = None
    """Why it does not listen: a `modelyard.domain.cause.Cause`."""
    refused: dict[str, RefusedRequests] = field(default_factory=dict)
    """By service name; services that refused nobody are not listed."""
    draining: dict[str, int] = field(default_factory=dict)
    """Requests still in flight at replicas that get no new ones, by replica id."""


def read_status(path: Path) -> GatewayStatus | None:
    """The last status written at `path`; None when there is none that can be read.

    It may be of a gateway that has ended: only the lock in its folder tells.
    """
    try:
        body = json.loads(path.read_bytes())
        refused = {name: RefusedRequests(**entry) for name, entry in body["refused"].items()}
        lists = {name: tuple(body.get(name, ())) for name in ("arguments", "processes")}
        return GatewayStatus(**{**body, "refused": refused, **lists})
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


class StatusFile:
    """Writes the status whenever it has changed, but refusals at most once a second."""

    _PAUSE = 1.0

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written: GatewayStatus | None = None
        self._failed = False
        self._pause_until = 0.0

    def publish(self, status: GatewayStatus, now: float) -> None:
        """Write the status if it says something new. A full disk is logged and tried again.

        `now` is the time of a monotonic clock, in seconds.
        """
        if status == self._written or (now < self._pause_until and not self._is_urgent(status)):
            return
        self._pause_until = now + self._PAUSE
        try:
            replace_file(self._path, json.dumps(asdict(status)), durable=False)
        except OSError as error:
            self._failed = True
            _log.error("the status could not be written, trying again: %s", error)
        else:
            self._failed = False
            self._written = status

    def _is_urgent(self, status: GatewayStatus) -> bool:
        if self._failed or self._written is None:
            return not self._failed
        return replace(status, refused={}) != replace(self._written, refused={})
