"""What the agent sees at one moment: the whole input of its plan beside the desired state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from modelyard.agent.drivers.base import Replica
from modelyard.agent.gateway.config import Certificate, ClientFiles, GatewayConfig
from modelyard.domain.cause import Cause
from modelyard.domain.service import Comparison


@dataclass(frozen=True, slots=True)
class GatewayView:
    """What the gateway was told and what it obeys."""

    config: GatewayConfig
    """The document it was given last."""
    applied: int | None = None
    """Version it serves; None while no gateway runs."""
    certificate: Certificate | None = None
    """What it is to speak TLS with."""
    figures: str = ""
    """Unix socket on which the agent tells the figures of services."""
    clients: ClientFiles | None = None
    """By what it is to know clients."""

    @property
    def settled(self) -> bool:
        """No gateway serves anything older than the document."""
        return self.applied is None or self.applied >= self.config.version


@dataclass(frozen=True, slots=True)
class World:
    """Everything seen at one moment."""

    replicas: tuple[Replica, ...]
    gateway: GatewayView
    images: frozenset[UUID] = frozenset()
    """Deployments whose image is unpacked on this host."""
    comparisons: Mapping[UUID, Comparison] = field(default_factory=dict)
    """What the answers of candidates are like that are shadows."""
    problems: Mapping[UUID, Cause] = field(default_factory=dict)
    """Deployments whose image cannot be had, or whose replicas cannot be started."""
    not_before: Mapping[str, float] = field(default_factory=dict)
    """Replicas whose supervisor ended soon after its start: when to try again."""
