"""Replicas as processes of this host."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

from modelyard.agent.drivers.base import DriverCapability, ReplicaSpec
from modelyard.agent.drivers.supervision import SCRATCH, SupervisedDriver, write_file
from modelyard.agent.home import AgentHome
from modelyard.agent.supervisor.processes import kill_leftovers
from modelyard.agent.supervisor.spec import (
    RUNTIME_CONFIG,
    RUNTIME_STATUS,
    SOCKET_FD,
    Restarts,
    Spec,
)
from modelyard.images.launch import replica_config, runtime_command


class ProcessDriver(SupervisedDriver):
    """Runs replicas as processes below the agent's home folder."""

    capabilities: ClassVar[frozenset[DriverCapability]] = frozenset({DriverCapability.MEMORY_LIMIT})

    def __init__(self, home: AgentHome, restarts: Restarts | None = None) -> None:
        super().__init__(home, home.replicas, restarts)

    def _supervision(self, spec: ReplicaSpec, folder: Path) -> Spec:
        write_file(folder / RUNTIME_CONFIG, json.dumps(_runtime_config(spec, folder)))
        settings = spec.settings
        argv, env = runtime_command(
            spec.manifest, spec.layers, settings.cpu, settings.environment, folder / SCRATCH
        )
        # A crash inside a compiled library, and a start that hangs, then show their lines.
        env = {"PYTHONFAULTHANDLER": "1", **env}
        return self._spec(spec, [*argv, "--config", str(folder / RUNTIME_CONFIG)], env)

    def _clear(self, folder: Path) -> None:
        kill_leftovers(folder)


def _runtime_config(spec: ReplicaSpec, folder: Path) -> dict[str, Any]:
    settings = spec.settings
    config = replica_config(
        spec.manifest,
        spec.layers,
        service=spec.identity.service_name,
        workers=settings.workers,
        scoring_timeout=settings.scoring_timeout,
        drain_timeout=settings.scoring_timeout,
    )
    return {**config, "fd": SOCKET_FD, "status": str(folder / RUNTIME_STATUS)}
