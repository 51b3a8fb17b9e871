"""Replicas as processes of this host, in the sandbox that it has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

from modelyard.agent.drivers.base import DriverCapability, ReplicaSpec
from modelyard.agent.drivers.supervision import SupervisedDriver
from modelyard.agent.home import AgentHome
from modelyard.agent.supervisor.processes import kill_leftovers
from modelyard.agent.supervisor.spec import SOCKET_FD, Restarts, Spec
from modelyard.images.launch import replica_config, runtime_command
from modelyard.images.sandbox.cell import Cell, KernelLimits, Sandbox, SandboxKind


class ProcessDriver(SupervisedDriver):
    """Runs replicas as processes below the agent's home folder.

    Args:
        home: The agent's files.
        sandbox: What each replica is started in; None starts them as they are.
        restarts: When what ended is started again; None takes the usual delays.
    """

    capabilities: ClassVar[frozenset[DriverCapability]] = frozenset({DriverCapability.MEMORY_LIMIT})

    def __init__(
        self, home: AgentHome, sandbox: Sandbox | None = None, restarts: Restarts | None = None
    ) -> None:
        super().__init__(home, home.replicas, restarts)
        self._sandbox = sandbox or Sandbox(SandboxKind.NONE)

    def _supervision(self, spec: ReplicaSpec, folder: Path) -> Spec:
        settings = spec.settings
        limits = KernelLimits.of(settings.memory, settings.workers)
        cell = Cell(self._sandbox, folder, spec.layers, settings.network, limits)
        inside = cell.inside
        cell.prepare(json.dumps(_runtime_config(spec, cell)))
        argv, env = runtime_command(
            spec.manifest, inside.layers, settings.cpu, settings.environment, inside.scratch
        )
        argv = cell.command([*argv, "--config", str(inside.config)])
        # A crash inside a compiled library, and a start that hangs, then show their lines.
        supervised = self._spec(spec, argv, {"PYTHONFAULTHANDLER": "1", **env})
        return supervised._replace(
            depth=self._sandbox.depth, sandbox=self._sandbox.describe(settings.network)
        )

    def _clear(self, folder: Path) -> None:
        kill_leftovers(folder)


def _runtime_config(spec: ReplicaSpec, cell: Cell) -> dict[str, Any]:
    settings, inside = spec.settings, cell.inside
    config = replica_config(
        spec.manifest,
        inside.layers,
        service=spec.identity.service_name,
        workers=settings.workers,
        scoring_timeout=settings.scoring_timeout,
        drain_timeout=settings.scoring_timeout,
        sample=spec.sample,
        network=not cell.is_offline,
    )
    return {
        **config,
        "fd": SOCKET_FD,
        "status": str(inside.status),
        "capture": str(inside.captured),
    }
