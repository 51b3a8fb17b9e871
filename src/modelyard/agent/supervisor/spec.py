"""What one supervisor is told: `spec.json` in the replica's folder, written by the driver."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

SOCKET_FD = 3
"""The descriptor under which the runtime inherits its listening socket."""

SPEC = "spec.json"
STATE = "state.json"
LOCK = "lock"
LOG = "log"
RUNTIME_CONFIG = "replica.json"
RUNTIME_STATUS = "status/status.json"
RUNTIME_FIGURES = "status/figures"


class Restarts(NamedTuple):
    """When a runtime that ended is started again; all in seconds."""

    first: float = 0.5
    """Delay after the first failure; it doubles with each further one."""
    longest: float = 30.0
    stable_after: float = 60.0
    """A runtime that was ready for this long counts as healthy again."""


class Limits(NamedTuple):
    """What a replica may use."""

    memory: int
    """Bytes of all processes together."""
    startup_timeout: float
    """Seconds until it has to be ready."""
    drain_timeout: float
    """Seconds that requests in flight get when the supervisor itself is told to end."""


class Spec(NamedTuple):
    """Everything a supervisor knows of its replica."""

    replica: str
    service: str
    """Name of the service, for messages."""
    labels: dict[str, str]
    """Whose replica it is; given back with every state, so that a new agent can adopt it."""
    argv: list[str]
    env: dict[str, str]
    """The whole environment of the runtime; nothing is inherited."""
    socket: str
    """Path of the Unix socket the runtime answers on; empty where it says itself where."""
    control: str
    """Path of the Unix socket the supervisor answers on."""
    limits: Limits
    restarts: Restarts = Restarts()
    contained: bool = False
    """The command holds a container: what runs in there binds the socket, and its engine measures
    and limits the memory."""
    depth: int = 0
    """Processes of a sandbox between the one that is started and the runtime."""
    sandbox: str = ""
    """What the runtime is started in, for the log."""

    def to_json(self) -> str:
        """The content of `spec.json`."""
        document = self._asdict()
        document["limits"] = self.limits._asdict()
        document["restarts"] = self.restarts._asdict()
        return json.dumps(document)

    @classmethod
    def read(cls, folder: Path) -> Spec:
        """Read `spec.json` of a replica's folder; it was written whole, by the driver."""
        document = json.loads((folder / SPEC).read_text())
        document["limits"] = Limits(**document["limits"])
        document["restarts"] = Restarts(**document["restarts"])
        return cls(**document)
