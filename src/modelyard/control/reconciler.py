"""Makes wanted and seen agree: looks at every service, takes one repeatable step, looks again.

It remembers nothing. What is to be done follows from the rows and from what targets report, so it
may die anywhere and another may go on.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from datetime import UTC, datetime

from modelyard.control.agents import Agents
from modelyard.control.operations import Operations
from modelyard.control.rounds import a_round
from modelyard.domain.cause import Cause, CauseCode
from modelyard.domain.change import ChangeOutcome, split_traffic
from modelyard.domain.image import CheckReport
from modelyard.domain.judgement import Outcome, Verdict, current, judge
from modelyard.domain.operation import Operation, OperationKind, OperationState
from modelyard.domain.rollout import Move, next_move
from modelyard.domain.service import ReplicaState, Service, ServiceState
from modelyard.domain.values import Reference
from modelyard.errors import DeployFailed
from modelyard.store import Database
from modelyard.targets.base import Target

PERIOD = 2.0
"""Seconds between looks when nothing happens; a report of an agent is looked at at once."""

_logger = logging.getLogger("modelyard.reconciler")


class Reconciler:
    """One thread that settles services."""

    def __init__(
        self,
        database: Database,
        operations: Operations,
        agents: Agents,
        targets: Mapping[str, Target],
    ) -> None:
        self._database = database
        self._operations = operations
        self._agents = agents
        self._targets = targets
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reconciler", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End after the step that is being taken."""
        self._stopping.set()
        self._agents.observed.notify()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            seen = self._agents.observed.count
            with a_round(_logger):
                self.reconcile()
            self._agents.observed.wait(seen, PERIOD)

    def reconcile(self) -> None:
        """Look at every service once."""
        with self._database.read() as tx:
            services = tx.services.all()
        for service in services:
            self._settle(service)

    def _settle(self, service: Service) -> None:
        target = self._targets[service.target]
        if service.status.state is ServiceState.DELETING:
            if target.remove(service):
                self._removed(service)
            return
        verdict = judge(service, target.observe(service), datetime.now(UTC))
        if verdict.outcome is Outcome.FAILED:
            self._failed(service, verdict)
        elif verdict.outcome is Outcome.REACHED:
            self._reached(service, verdict)
        elif _differs(service, verdict):
            self._record(service, verdict)

    def _running(self, service: Service) -> Operation | None:
        with self._database.read() as tx:
            running = tx.operations.running(service.workspace, f"service {service.name}")
        return running[0] if running else None

    def _removed(self, service: Service) -> None:
        operation = self._running(service)
        with self._database.write() as tx:
            tx.services.delete(service.id)
            if operation is not None:
                tx.operations.append_log(operation.id, "service", ["removed"])
                tx.operations.finish(operation.id, OperationState.SUCCEEDED, None)
        self._operations.changed.notify()

    def _reached(self, service: Service, verdict: Verdict) -> None:
        operation = self._running(service)
        leftovers = service.rollout is None and any(not d.weight for d in service.deployments)
        leftovers = leftovers and not verdict.standby
        move = _next_move(service)
        nothing_new = move is Move.STAY and not _differs(service, verdict)
        if operation is None and not leftovers and nothing_new:
            return
        with self._database.write() as tx:
            if not tx.services.is_current(service.id, service.generation):
                return  # changed since it was read: look again
            tx.services.set_status(service.id, verdict.status)
            tx.services.end_change(service.id, service.generation, ChangeOutcome.SERVED)
            if service.rollout is not None:
                reason = "promoted by its steps" if move is Move.PROMOTE else ""
                tx.services.move_rollout(service.id, move, reason)
            elif not verdict.standby:
                tx.services.retire(service.id)
            if operation is not None and (seen := _first_start(service, verdict)) is not None:
                tx.images.was_started(service.workspace, Reference.parse(service.image), seen)
            if operation is not None:
                tx.operations.append_log(operation.id, "service", [_arrived(service, verdict)])
                tx.operations.finish(operation.id, OperationState.SUCCEEDED, None)
        self._operations.changed.notify()
        if leftovers or move in (Move.GROW, Move.PROMOTE):
            self._targets[service.target].apply(service)

    def _failed(self, service: Service, verdict: Verdict) -> None:
        """End the operation with the cause; go back to what served before."""
        operation = self._running(service)
        unfinished = service.rollout is not None or any(not d.weight for d in service.deployments)
        if operation is None and not unfinished:
            if _differs(service, verdict):
                self._record(service, verdict)
            return
        cause = verdict.status.cause or Cause(code=CauseCode.INTERNAL, message="unknown")
        error = _deploy_failed(service, cause)
        first = operation is not None and operation.kind is OperationKind.SERVICE_DEPLOY
        worse = cause.code is CauseCode.CANDIDATE_WORSE
        with self._database.write() as tx:
            if not tx.services.is_current(service.id, service.generation):
                return
            tx.services.set_status(service.id, verdict.status)
            if operation is not None:
                lines = [error.message, *cause.evidence]
                tx.operations.append_log(operation.id, "service", lines)
                tx.operations.finish(operation.id, OperationState.FAILED, error.to_wire())
            if worse and service.rollout is None:  # it has served before that was found
                tx.services.take_back(service.id, cause)
            else:
                tx.services.end_change(
                    service.id, service.generation, ChangeOutcome.FAILED, cause.message, cause
                )
            if not first:
                reason = f"{service.image} {'was worse' if worse else 'could not run'}"
                tx.services.revert(service.id, service.generation, reason)
        self._operations.changed.notify()
        self._targets[service.target].apply(service)

    def _record(self, service: Service, verdict: Verdict) -> None:
        with self._database.write() as tx:
            tx.services.set_status(service.id, verdict.status)


def _next_move(service: Service) -> Move:
    if service.rollout is None:
        return Move.STAY
    return next_move(service.rollout, datetime.now(UTC))


def _arrived(service: Service, verdict: Verdict) -> str:
    rollout = service.rollout
    if rollout is not None and rollout.canary is None:
        return f"{service.image} is ready, and gets copies of {rollout.shadow} % of the requests"
    if rollout is not None:
        return f"{service.image} is ready at {rollout.stage} of the traffic"
    serving = {deployment.id for deployment in service.deployments if deployment.weight}
    replicas = [r for r in verdict.status.replicas if r.deployment in serving]
    judged = "; it is judged for another minute" if verdict.standby else ""
    shares = split_traffic(service.deployments)
    what = f"{', '.join(shares)} are" if shares else f"{service.image} is"
    return f"{what} ready: {len(replicas)} replica{'s' * (len(replicas) != 1)}{judged}"


def _deploy_failed(service: Service, cause: Cause) -> DeployFailed:
    why = cause.message.removesuffix(".")
    before = "; what served before goes on serving" if service.status.generation else ""
    return DeployFailed(
        f"`{service.name}` cannot run {service.image}: {why}{before}",
        hint=cause.fix,
        details={"cause": cause.model_dump(mode="json")},
    )


def _differs(service: Service, verdict: Verdict) -> bool:
    """Whether the verdict says more than the stored status, times and memory aside."""
    return (service.status.state, service.status.generation, service.status.cause) != (
        verdict.status.state,
        verdict.status.generation,
        verdict.status.cause,
    )


def _first_start(service: Service, verdict: Verdict) -> CheckReport | None:
    """What a replica that is ready shows of its image, for one that its builder could not start."""
    now = verdict.status.observed_at or datetime.now(UTC)
    wanted = current(service)
    for replica in verdict.status.replicas:
        if wanted is None or replica.deployment != wanted.id or replica.started_at is None:
            continue
        if replica.state is ReplicaState.READY:
            return CheckReport(
                workers=wanted.settings.workers,
                cold_start=max(0.0, (now - replica.started_at).total_seconds()),
                memory=replica.memory,
                checked_at=now,
            )
    return None
