"""The targets `local` and `container`: publish desired state, which the agent of this host pulls.

They differ in the driver that the agent chooses; `edge` will be the same with another agent.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Protocol

from modelyard.domain.judgement import Observation
from modelyard.domain.operation import LogLine
from modelyard.domain.service import Service
from modelyard.targets.base import Capability


class Mailbox(Protocol):
    """What lies between the control plane and its agents."""

    def wake(self, agent: str) -> None:
        """Tell a waiting agent that its desired state changed."""

    def observation(self, agent: str, service: Service) -> Observation:
        """What the agent last reported of a service."""

    def log_lines(
        self, service: Service, replica: str | None, after: int, limit: int
    ) -> Iterator[LogLine]:
        """Log lines that agents sent home."""


class _AgentTarget:
    """Deployments on the host of the server, however its agent runs them."""

    def __init__(self, mailbox: Mailbox, agent: str) -> None:
        self._mailbox = mailbox
        self._agent = agent

    def apply(self, service: Service) -> None:
        """Wake the agent; what it is to do is in the document it pulls."""
        del service
        self._mailbox.wake(self._agent)

    def observe(self, service: Service) -> Observation:
        """What the agent last reported."""
        return self._mailbox.observation(self._agent, service)

    def remove(self, service: Service) -> bool:
        """Wake the agent; true when it reports nothing of the service any more."""
        self._mailbox.wake(self._agent)
        observation = self._mailbox.observation(self._agent, service)
        return observation.answered and observation.service is None

    def logs(
        self, service: Service, *, replica: str | None, after: int, limit: int
    ) -> Iterator[LogLine]:
        """Log lines that the agent sent home."""
        return self._mailbox.log_lines(service, replica, after, limit)


class LocalTarget(_AgentTarget):
    """Deployments as processes on the host of the server."""

    name: ClassVar[str] = "local"
    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {Capability.REPLICAS, Capability.MEMORY_LIMIT, Capability.LOGS}
    )


class ContainerTarget(_AgentTarget):
    """Deployments as containers of the engine on the host of the server."""

    name: ClassVar[str] = "container"
    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {
            Capability.REPLICAS,
            Capability.MEMORY_LIMIT,
            Capability.CPU_LIMIT,
            Capability.NEEDS_BASE,
            Capability.LOGS,
        }
    )
