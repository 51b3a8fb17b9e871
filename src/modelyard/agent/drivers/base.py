"""What a replica driver is. The agent's plan decides when to call; a driver never decides.

A replica's identity travels with it as labels, so that a new agent finds what an earlier one
started by asking the world and not its memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import ClassVar, Protocol
from uuid import UUID

from pydantic import JsonValue

from modelyard.domain.cause import Cause
from modelyard.domain.image import LayerKind, Manifest
from modelyard.domain.service import ReplicaSettings, ReplicaState, ReplicaStatus


class DriverCapability(StrEnum):
    """What a driver can do; checked when a specification is accepted."""

    MEMORY_LIMIT = "memory_limit"
    """Ends a replica above its memory setting."""
    CPU_LIMIT = "cpu_limit"
    """Holds a replica to its cpu setting."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose replica it is."""

    replica: str
    """Unique on its host: service, deployment and a number."""
    service: UUID
    service_name: str
    deployment: UUID
    image: str
    """`name:version`."""


@dataclass(frozen=True, slots=True)
class ReplicaSpec:
    """Everything that starting one replica takes."""

    identity: Identity
    manifest: Manifest
    layers: Mapping[LayerKind, Path]
    """Folder of every unpacked layer of the image; none where an engine has it."""
    settings: ReplicaSettings
    target: str = "local"
    """Which kind of replica it is."""
    sample: JsonValue = None
    """A request that the image has scored, if one is known."""


@dataclass(frozen=True, slots=True)
class Replica:
    """One replica as its supervisor sees it."""

    identity: Identity
    address: str
    """Where it answers: the path of a Unix socket, or `127.0.0.1:port`."""
    alive: bool
    """Somebody supervises it; what is not alive is only a folder with a log."""
    state: ReplicaState
    restarts: int = 0
    failures: int = 0
    """How often in a row it ended by itself, since it was last ready for a while."""
    memory: int = 0
    """Bytes, resident."""
    started_at: datetime | None = None
    cause: Cause | None = None
    """Why it last ended, until it has been ready for a while."""
    last_failure: Cause | None = None
    """Why `run()` last raised, in the life that it is in."""

    @property
    def id(self) -> str:
        """The id in its identity."""
        return self.identity.replica

    @property
    def ready(self) -> bool:
        """It can answer requests."""
        return self.alive and self.state is ReplicaState.READY

    @property
    def draining(self) -> bool:
        """It is on its way out and cannot be called back."""
        return self.alive and self.state is ReplicaState.DRAINING

    def status(self) -> ReplicaStatus:
        """As it is reported to the control plane."""
        return ReplicaStatus(
            id=self.id,
            deployment=self.identity.deployment,
            image=self.identity.image,
            state=self.state,
            restarts=self.restarts,
            memory=self.memory,
            started_at=self.started_at,
            cause=self.cause,
        )


class ReplicaDriver(Protocol):
    """Starts, finds and stops replicas on this host.

    Every method returns promptly and is safe to repeat after a crash. What runs goes on running
    when the agent is gone.
    """

    capabilities: ClassVar[frozenset[DriverCapability]]

    def observe(self) -> tuple[Replica, ...]:
        """Every replica of this host, whoever started it, also the ended ones not yet removed."""

    def start(self, spec: ReplicaSpec) -> None:
        """Start a replica, or the ended one with this id again; nothing when it is alive."""

    def revive(self, replica: str) -> None:
        """Start an ended replica again as it was; nothing when it is alive or unknown."""

    def stop(self, replica: str, drain: float | None = None) -> None:
        """Tell a replica to drain and end, within `drain` seconds if given.

        Stopping what is already gone is not an error. One that has only just been started may not
        hear it: say it again while it does not drain; said twice, the earlier end counts.
        """

    def remove(self, replica: str) -> None:
        """Forget an ended replica with its log; nothing when it is alive or unknown."""

    def captured(self, replica: str) -> Path:
        """Folder in which a replica records requests; it may not be there."""

    def log(self, replica: str) -> Path:
        """Folder of a replica's log files, as `modelyard.agent.supervisor.log` writes them."""

    def figures(self, replica: str) -> Path:
        """File of a replica's figures, as `modelyard_runtime.slots` writes it."""
