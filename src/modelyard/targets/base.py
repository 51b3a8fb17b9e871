"""What a target is. The reconciler decides when to call; a target never polls or sleeps.

A target is a place (`local`, later `container`, `kubernetes`, `edge`); what starts one replica
there is a replica driver and belongs to the agent.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import ClassVar, Protocol

from modelyard.domain.judgement import Observation
from modelyard.domain.operation import LogLine
from modelyard.domain.service import Service


class Capability(StrEnum):
    """What a specification may ask of a target; checked when it is accepted."""

    REPLICAS = "replicas"
    """More than one replica."""
    MEMORY_LIMIT = "memory_limit"
    """Ends a replica above its memory setting."""
    CPU_LIMIT = "cpu_limit"
    """Holds a replica to its cpu setting, not only its worker and thread counts."""
    NEEDS_BASE = "needs_base"
    """Runs only images that bring a root file system along."""
    LOGS = "logs"


class Target(Protocol):
    """Somewhere deployments can run.

    Every method returns promptly, is safe to repeat after a crash, and touches only what is ours.
    """

    name: ClassVar[str]
    capabilities: ClassVar[frozenset[Capability]]

    def apply(self, service: Service) -> None:
        """Make the place work towards the service as it is now wanted."""

    def observe(self, service: Service) -> Observation:
        """What is known of the service there; never waits for the place to answer."""

    def remove(self, service: Service) -> bool:
        """Work towards there being nothing of the service; true when nothing is left.

        Removing what is already gone is not an error.
        """

    def logs(
        self, service: Service, *, replica: str | None, after: int, limit: int
    ) -> Iterator[LogLine]:
        """Stored log lines with a sequence above `after`, oldest first."""
