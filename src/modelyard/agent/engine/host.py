"""What is known of the engine of this host, looked up anew whenever it is needed.

An engine may be installed, started again or moved while the agent runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import NamedTuple

from modelyard.agent.engine.address import candidates
from modelyard.agent.engine.client import Engine
from modelyard.agent.engine.problems import START_ONE, EngineProblem, NoEngine

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_IN_A_MACHINE = "Docker Desktop"


def find_engine(named: str | None, environment: Mapping[str, str] = os.environ) -> Engine:
    """The first engine that answers.

    Args:
        named: Where to look and nowhere else, or None.
        environment: Of this process.

    Raises:
        EngineProblem: None does; it says what was found instead.
    """
    problems: list[EngineProblem] = []
    looked_at = [Engine(address) for address in candidates(named, environment)]
    for engine in looked_at:
        try:
            engine.ping()
        except EngineProblem as problem:
            problems.append(problem)
        else:
            return engine
    telling = [problem for problem in problems if not isinstance(problem, NoEngine)]
    if telling or len(problems) == 1:
        raise (telling or problems)[0]
    places = ", ".join(str(engine.address) for engine in looked_at)
    raise NoEngine(f"no container engine answers; looked at {places}", hint=START_ONE)


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
