"""What one agent sees on its host: a document that it sends whole, and the server judges."""

from __future__ import annotations

from uuid import UUID

from modelyard.domain.cause import Cause
from modelyard.domain.service import Comparison, ReplicaStatus
from modelyard.domain.values import Value


class ObservedDeployment(Value):
    """How one deployment is doing on its host."""

    id: UUID
    ready: bool
    """All wanted replicas are ready and in the gateway."""
    failed: Cause | None = None
    """Why it cannot get ready; the agent keeps what served before."""
    comparison: Comparison | None = None
    """Of the answers to copies of requests, while it is a shadow."""
    replicas: tuple[ReplicaStatus, ...] = ()


class ObservedService(Value):
    """How one service is doing on its host."""

    id: UUID
    name: str
    generation: int
    """Newest desired generation that is fully reached."""
    deployments: tuple[ObservedDeployment, ...] = ()
    standby: UUID | None = None
    """The deployment that is kept ready while the new one is judged: its turn may come again."""
    notice: Cause | None = None
    """Something that callers should know although replicas are ready, such as refused keys."""


class ObservedGateway(Value):
    """Where a host's gateway listens."""

    url: str | None = None
    cause: Cause | None = None
    """Why it does not listen."""


class ObservedState(Value):
    """Everything one agent sees: one document, sent whole."""

    agent: str
    fence: int
    generation: int
    """Of the desired state this answers."""
    gateway: ObservedGateway = ObservedGateway()
    services: tuple[ObservedService, ...] = ()
