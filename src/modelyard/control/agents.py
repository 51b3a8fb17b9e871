"""Between the control plane and its agents: desired state out, observed state and logs in."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from modelyard.control.signals import Signal
from modelyard.domain.clients import issued_name
from modelyard.domain.desired import DesiredService, DesiredState
from modelyard.domain.judgement import Observation
from modelyard.domain.observed import ObservedState
from modelyard.domain.operation import LogLine
from modelyard.domain.principal import Principal
from modelyard.domain.service import Service
from modelyard.schemas import LogReceipt, LogSegment
from modelyard.store import Database


class Agents:
    """The mailbox of every agent."""

    def __init__(
        self,
        database: Database,
        *,
        capture_key: bytes,
        encryption_key: bytes = b"",
        issues_certificates: bool = False,
    ) -> None:
        self._database = database
        self._capture_key = capture_key.hex()
        self._encryption_key = encryption_key.hex()
        self._issues_certificates = issues_certificates
        self._listening_since = datetime.now(UTC)
        self.woken = Signal()
        """Raised when any desired state changed."""
        self.observed = Signal()
        """Raised when any agent reported."""
        self.logged = Signal()
        """Raised when log lines came home."""

    def take_over(self, workspace: str, agent: str) -> None:
        """Begin to speak to an agent: documents of a server before this one become stale."""
        with self._database.write() as tx:
            tx.agents.ensure(workspace, agent)
            tx.agents.take_over(agent)

    def etag(self, principal: Principal, agent: str) -> str:
        """The version of the agent's desired state."""
        del principal
        with self._database.read() as tx:
            record = tx.agents.get(agent)
        return f'"{record.fence}.{record.generation}"'

    def desired(self, principal: Principal, agent: str) -> DesiredState:
        """Everything the agent is to do."""
        del principal
        with self._database.read() as tx:
            record = tx.agents.get(agent)
            return DesiredState(
                agent=agent,
                fence=record.fence,
                generation=record.generation,
                services=tuple(
                    self._with_key(self._with_issued(service))
                    for service in tx.services.desired(agent)
                ),
            )

    def _with_issued(self, service: DesiredService) -> DesiredService:
        """Let those in, too, who have a certificate of the workspace for the service."""
        if not self._issues_certificates:
            return service
        clients = (*service.clients, issued_name(service.id, "*"))
        return service.model_copy(update={"clients": clients})

    def _with_key(self, service: DesiredService) -> DesiredService:
        """Let hosts hash what is to be recorded as a hash, and encrypt what is to be encrypted."""
        if service.capture is None or not (service.capture.hashed or service.capture.encrypted):
            return service
        capture = service.capture.model_copy(
            update={
                "key": self._capture_key if service.capture.hashed else "",
                "public": self._encryption_key if service.capture.encrypted else "",
            }
        )
        return service.model_copy(update={"capture": capture})

    def observe(self, principal: Principal, agent: str, state: ObservedState) -> None:
        """Keep what the agent sees."""
        del principal
        with self._database.write() as tx:
            tx.agents.observe(agent, state, datetime.now(UTC))
        self.observed.notify()

    def add_log(self, principal: Principal, agent: str, segment: LogSegment) -> LogReceipt:
        """Keep a piece of a log; a piece that is there already changes nothing."""
        del principal
        with self._database.write() as tx:
            following = tx.logs.add_segment(agent, segment)
        self.logged.notify()
        return LogReceipt(next=following)

    def gateway_url(self, agent: str) -> str | None:
        """Where the agent's gateway listens, as last reported."""
        with self._database.read() as tx:
            observed = tx.agents.get(agent).observed
        return observed.gateway.url if observed else None

    # What a target that is run by an agent needs: targets.agent.Mailbox.

    def wake(self, agent: str) -> None:
        """Tell a waiting agent that its desired state changed."""
        del agent  # one signal for all: an agent that nothing changed for answers itself with 304
        self.woken.notify()

    def observation(self, agent: str, service: Service) -> Observation:
        """What the agent last reported of a service."""
        with self._database.read() as tx:
            record = tx.agents.get(agent)
        if record.observed is None:
            return Observation(seen=record.last_seen, listening_since=self._listening_since)
        return Observation(
            seen=record.last_seen,
            listening_since=self._listening_since,
            answered=(record.observed.fence, record.observed.generation)
            == (record.fence, record.generation),
            gateway=record.observed.gateway,
            service=next((s for s in record.observed.services if s.id == service.id), None),
        )

    def log_lines(
        self, service: Service, replica: str | None, after: int, limit: int
    ) -> Iterator[LogLine]:
        """Log lines that agents sent home."""
        with self._database.read() as tx:
            yield from tx.logs.read(service.id, replica, after, limit)
