"""What is known of the engine of this host, looked up anew whenever it is needed.

An engine may be installed, started again or moved while the agent runs.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

from modelyard.agent.engine.client import Engine, find_engine

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_IN_A_MACHINE = "Docker Desktop"


class EngineHost(NamedTuple):
    """An engine and what it can do."""

    engine: Engine
    os: str
    """Of its containers, such as `linux`."""
    architecture: str
    """Of its containers, such as `amd64`."""
    shares_sockets: bool
    """A Unix socket made inside a container can be used outside: both have one kernel."""


class Engines:
    """Finds the engine.

    Args:
        named: Address of the one to use; None looks in the usual places.
    """

    def __init__(self, named: str | None = None) -> None:
        self._named = named

    def find(self) -> EngineHost:
        """The engine that answers.

        Raises:
            EngineProblem: None does.
        """
        engine = find_engine(self._named)
        info = engine.info()
        architecture = str(info.get("Architecture", ""))
        return EngineHost(
            engine=engine,
            os=str(info.get("OSType", "")),
            architecture=_ARCHITECTURES.get(architecture, architecture),
            shares_sockets=_shares_sockets(engine, info.get("OperatingSystem")),
        )


def _shares_sockets(engine: Engine, system: object) -> bool:
    beside = bool(engine.address.socket) and sys.platform == "linux"
    return beside and system != _IN_A_MACHINE
