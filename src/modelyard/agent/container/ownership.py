"""Tells a container of this agent from somebody else's of the same name, which is left alone."""

from __future__ import annotations

from typing import Any

from modelyard.agent.container.spec import AGENT_LABEL, ContainerSpec
from modelyard.agent.engine.client import Engine
from modelyard.agent.engine.problems import EngineRefused, NoSuchObject

_TAKEN = 409  # as engines answer


def find(engine: Engine, spec: ContainerSpec) -> dict[str, Any] | None:
    """What the engine knows of the container, or None when there is none.

    Raises:
        EngineRefused: There is one of this name, and it is not ours.
    """
    try:
        found = engine.inspect(spec.name)
    except NoSuchObject:
        return None
    if labels(found).get(AGENT_LABEL) != spec.body["Labels"][AGENT_LABEL]:
        raise EngineRefused(f"somebody else has a container with the name {spec.name}", _TAKEN)
    return found


def remove(engine: Engine, spec: ContainerSpec) -> None:
    """End and remove the container, if there is one. Raises as `find` does."""
    if find(engine, spec) is not None:
        engine.remove(spec.name)


def labels(found: dict[str, Any]) -> dict[str, Any]:
    """The labels of a container that was looked at."""
    config = found.get("Config")
    own = config.get("Labels") if isinstance(config, dict) else None
    return own if isinstance(own, dict) else {}
