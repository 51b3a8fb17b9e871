"""Services: accept what is wanted. The reconciler and the targets make it so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from modelyard.control.accepting import (
    begin,
    built,
    cancel,
    first_request,
    refuse_unable,
    refuse_unfit,
)
from modelyard.control.agents import Agents
from modelyard.control.certificates import Certificates
from modelyard.control.idempotency import earlier_answer, remember_answer
from modelyard.control.keys import Keys
from modelyard.control.operations import Operations
from modelyard.domain.cause import Cause, CauseCode
from modelyard.domain.change import ChangeOutcome, ServiceChange
from modelyard.domain.judgement import judge
from modelyard.domain.operation import LogLine, Operation, OperationKind
from modelyard.domain.principal import Principal
from modelyard.domain.search import Page, Search
from modelyard.domain.service import Service, ServiceState
from modelyard.errors import InvalidRequest, NotFound
from modelyard.schemas import AcceptedService, ChangeLabels, DeployService
from modelyard.store import Database
from modelyard.targets.base import Target


class Services:
    """What callers may do with services."""

    def __init__(
        self,
        database: Database,
        operations: Operations,
        agents: Agents,
        targets: Mapping[str, Target],
        *,
        local_agent: str,
        keys: Keys,
        certificates: Certificates,
    ) -> None:
        self._database = database
        self._operations = operations
        self._agents = agents
        self._targets = targets
        self._local_agent = local_agent
        self._keys = keys
        self._certificates = certificates
        self.logged = agents.logged

    def deploy(
        self, principal: Principal, request: DeployService, key: str | None = None
    ) -> AcceptedService:
        """Create a service; the answer comes before it is ready.

        Raises:
            NotFound: There is no such image.
            Conflict: The name is taken, or the image is not built.
            InvalidRequest: There is no such target, or it cannot run this image.
        """
        if request.target not in self._targets:
            raise InvalidRequest(
                f"there is no target `{request.target}`",
                hint=f"targets here: {', '.join(sorted(self._targets))}",
            )
        refuse_unable(self._targets[request.target], request.settings)
        self._certificates.refuse_unusable(request.settings)
        with self._database.write() as tx:
            earlier = earlier_answer(tx, principal, key, request, AcceptedService)
            if earlier is not None:
                return earlier
            image = built(tx, principal, request.image)
            refuse_unfit(self._targets[request.target], image)
            service = tx.services.add(
                principal.workspace, request, self._local_agent, image, principal.name
            )
            tx.services.set_keys(service.id, self._keys.new())
            operation = begin(tx, principal, OperationKind.SERVICE_DEPLOY, service.name)
            line = f"deploying {image.reference}, replicas: {request.settings.replicas}"
            tx.operations.append_log(operation.id, "service", [line, first_request(image)])
            answer = AcceptedService(service=service, operation=operation)
            remember_answer(tx, principal, key, request, answer)
        self._targets[service.target].apply(service)
        return answer

    def delete(self, principal: Principal, name: str) -> Operation:
        """Drain and remove a service; asked again it gives the same operation.

        Raises:
            NotFound: There is no such service.
        """
        with self._database.write() as tx:
            service = tx.services.get(principal.workspace, name)
            running = tx.operations.running(principal.workspace, f"service {name}")
            for operation in running:
                if operation.kind is OperationKind.SERVICE_DELETE:
                    return operation
            cancel(tx, running, "the service is being deleted")
            tx.services.mark_deleting(principal.workspace, name)
            operation = begin(tx, principal, OperationKind.SERVICE_DELETE, name)
        self._operations.changed.notify()
        self._targets[service.target].remove(service)
        return operation

    def get(self, principal: Principal, name: str) -> Service:
        """One service.

        Raises:
            NotFound: There is none of this name.
        """
        with self._database.read() as tx:
            service = self._present(tx.services.get(principal.workspace, name))
        if service.status.cause is not None or service.status.state is not ServiceState.HEALTHY:
            return service
        cause = self._certificates.ending(principal, service)
        return service.model_copy(
            update={"status": service.status.model_copy(update={"cause": cause})}
        )

    def search(self, principal: Principal, search: Search) -> Page[Service]:
        """Services that match, newest first."""
        with self._database.read() as tx:
            page = tx.services.search(principal.workspace, search)
        return Page(items=tuple(self._present(service) for service in page.items), next=page.next)

    def change_labels(self, principal: Principal, name: str, change: ChangeLabels) -> Service:
        """Change tags or the description; add properties. Restarts nothing."""
        with self._database.write() as tx:
            return self._present(tx.services.change_labels(principal.workspace, name, change))

    def logs(
        self, service: Service, replica: str | None, after: int, limit: int
    ) -> Sequence[LogLine]:
        """Stored log lines of a service, oldest first."""
        target = self._targets[service.target]
        return list(target.logs(service, replica=replica, after=after, limit=limit))

    def refuse_unknown_replica(self, service: Service, replica: str) -> None:
        """Say which replicas there are when this is none of them.

        Raises:
            NotFound: The service has no such replica, and no log of one is kept.
        """
        with self._database.read() as tx:
            known = {*tx.logs.replicas(service.id), *(r.id for r in service.status.replicas)}
        if replica not in known:
            raise NotFound(
                f"service `{service.name}` has no replica `{replica[:200]}`",
                hint=f"there are: {', '.join(sorted(known)) or 'none yet'}",
            )

    def log_position(self, service: Service, replica: str | None, tail: int) -> int:
        """The sequence after which the last `tail` lines begin."""
        with self._database.read() as tx:
            return tx.logs.position(service.id, replica, tail)

    def history(self, principal: Principal, name: str) -> tuple[ServiceChange, ...]:
        """What a service was asked to be, newest first, and what became of it."""
        with self._database.read() as tx:
            return tx.services.history(tx.services.get(principal.workspace, name).id)

    def why(self, principal: Principal, name: str) -> Cause | None:
        """The one cause for anything not as asked; None when there is nothing to say."""
        service = self.get(principal, name)
        return service.status.cause or _why_taken_back(name, self.history(principal, name))

    def _present(self, service: Service) -> Service:
        """The service with what is known of it at this moment."""
        observation = self._targets[service.target].observe(service)
        verdict = judge(service, observation, datetime.now(UTC))
        base = observation.gateway.url
        return service.model_copy(
            update={
                "status": verdict.status,
                "scoring_uri": f"{base}/services/{service.name}/score" if base else None,
                "swagger_uri": f"{base}/services/{service.name}/swagger.json" if base else None,
            }
        )


def _why_taken_back(name: str, history: Sequence[ServiceChange]) -> Cause | None:
    """Why the newest change was undone, as long as no other follows."""
    newest, before = history[0], next(iter(history[1:]), None)
    if newest.by or before is None or before.outcome is not ChangeOutcome.FAILED:
        return None
    found = before.cause or Cause(code=CauseCode.CANDIDATE_WORSE, message=before.reason)
    ends = f"`modelyard service history {name}` shows what was taken back; any further change of "
    ends += "the service ends this notice."
    return Cause(
        code=found.code,
        message=f"`{name}` went back to {newest.image} by itself: {found.message}",
        evidence=(f"went back at {newest.at:%Y-%m-%d %H:%M:%S} UTC", *found.evidence),
        fix=f"{found.fix.removesuffix('.')}. {ends}" if found.fix else ends,
    )
