"""What a holder is told of its container: `container.json`, written by the driver."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

CONTAINER = "container.json"

INSIDE = "/run/modelyard"
"""The folder inside a container that is shared with its host."""
SOCKET = "replica.sock"
CONFIG = "replica.json"
STATUS = "status.json"
FIGURES = "figures"
PORT = 8080
"""Where a replica listens inside a container that cannot share a Unix socket."""

AGENT_LABEL = "io.modelyard.agent"
REPLICA_LABEL = "io.modelyard.replica"
SPECIFICATION_LABEL = "io.modelyard.specification"


class ContainerSpec(NamedTuple):
    """One container and how it is reached."""

    engine: str
    """Address of the engine."""
    name: str
    body: dict[str, Any]
    """What the engine is asked to create."""
    config: dict[str, Any]
    """The runtime's configuration."""
    share: str
    """Folder of the host that becomes `/run/modelyard`; emptied for every new container."""
    socket: str
    """Where the replica's socket appears on the host; empty when a port is published instead."""
    memory: int
    """Its limit in bytes."""

    def write(self, path: Path) -> None:
        """Write `container.json`; readable by the owner only, as variables may be secret."""
        path.touch(0o600)
        path.write_text(json.dumps(self._asdict()))

    @classmethod
    def read(cls, folder: Path) -> ContainerSpec:
        """Read `container.json` of a replica's folder."""
        return cls(**json.loads((folder / CONTAINER).read_text()))
