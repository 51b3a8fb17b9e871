"""Carries out the steps of the plan; each is safe to repeat, and one that fails is tried again."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterable
from uuid import UUID

from modelyard.agent.backoff import Backoff
from modelyard.agent.drivers.base import Identity, Replica, ReplicaDriver, ReplicaSpec
from modelyard.agent.engine.problems import EngineProblem
from modelyard.agent.gatekeeper import Gatekeeper
from modelyard.agent.plan import (
    ConfigureGateway,
    EnsureImage,
    RemoveReplica,
    ReviveReplica,
    StartReplica,
    Step,
    StopReplica,
    lost_image,
)
from modelyard.agent.provision.images import ImageProvider
from modelyard.domain.cause import Cause, CauseCode
from modelyard.errors import ModelyardError

log = logging.getLogger(__name__)

_LOG_PATIENCE = 30.0
"""Seconds that an ended replica's folder waits for the rest of its log to be sent."""


class Executor:
    """Does what the plan says. Belongs to the agent's loop.

    Args:
        driver: Starts and ends replicas.
        images: Has them brought to this host.
        gatekeeper: Tells the gateway.
        log_sent: Whether a replica's whole log has arrived.
        leaves: Told of a replica before its folder goes.
    """

    def __init__(
        self,
        driver: ReplicaDriver,
        images: ImageProvider,
        gatekeeper: Gatekeeper,
        log_sent: Callable[[str], bool],
        leaves: Callable[[str], None],
    ) -> None:
        self._driver = driver
        self._images = images
        self._gatekeeper = gatekeeper
        self._log_sent = log_sent
        self._leaves = leaves
        self._starts: dict[str, Backoff] = {}
        self._ended: dict[str, float] = {}
        self._looked_for: dict[str, int] = {}
        self.problems: dict[UUID, Cause] = {}
        """Why replicas of a deployment could not be started."""

    def not_before(self) -> dict[str, float]:
        """When replicas that were started lately may be started again."""
        return {replica: starts.next_try for replica, starts in self._starts.items()}

    def notice(self, replicas: Iterable[Replica]) -> None:
        """Learn what became of earlier starts."""
        for replica in replicas:
            if replica.ready:
                self._starts.pop(replica.id, None)
            if lost_image(replica) and self._looked_for.get(replica.id) != replica.failures:
                self._looked_for[replica.id] = replica.failures
                self._images.recheck(replica.identity.deployment)

    def carry_out(self, step: Step, now: float) -> None:
        """Take one step; what goes wrong is logged, and the next plan has it in it again."""
        try:
            self._carry_out(step, now)
        except (ModelyardError, OSError) as error:
            log.error("%s failed: %s", type(step).__name__, error)

    def _carry_out(self, step: Step, now: float) -> None:
        match step:
            case EnsureImage():
                self._images.ensure(step.deployment)
            case StartReplica():
                self._start(step, now)
            case ReviveReplica():
                self._attempt(step.replica, now)
                self._driver.revive(step.replica)
            case StopReplica():
                log.info("stop %s", step.replica)
                self._driver.stop(step.replica)
            case RemoveReplica():
                self._remove(step.replica, now)
            case ConfigureGateway():
                self._gatekeeper.configure(step.config)

    def _start(self, step: StartReplica, now: float) -> None:
        deployment = step.deployment
        layers = self._images.layers(deployment)
        if layers is None:
            return  # another replica of this turn found it gone
        if not all(folder.is_dir() for folder in layers.values()):
            self._images.recheck(deployment.id)
            return
        log.info("start %s with %s", step.replica, deployment.image)
        self._attempt(step.replica, now)
        identity = Identity(
            replica=step.replica,
            service=step.service.id,
            service_name=step.service.name,
            deployment=deployment.id,
            image=deployment.image,
        )
        try:
            self._driver.start(
                ReplicaSpec(
                    identity,
                    deployment.manifest,
                    layers,
                    deployment.settings,
                    deployment.target,
                    deployment.sample,
                )
            )
        except (ModelyardError, OSError) as error:
            self.problems[deployment.id] = _why_not_started(step.replica, error)
            raise
        self.problems.pop(deployment.id, None)

    def _remove(self, replica: str, now: float) -> None:
        ended_at = self._ended.setdefault(replica, now)
        if not self._log_sent(replica) and now - ended_at < _LOG_PATIENCE:
            return
        log.info("remove %s", replica)
        self._leaves(replica)
        self._driver.remove(replica)
        del self._ended[replica]
        self._starts.pop(replica, None)
        self._looked_for.pop(replica, None)

    def _attempt(self, replica: str, now: float) -> None:
        self._ended.pop(replica, None)
        self._starts.setdefault(replica, Backoff(0.5, 30.0)).failed(now)


def _why_not_started(replica: str, error: Exception) -> Cause:
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    hint = error.hint if isinstance(error, ModelyardError) else ""
    code = CauseCode(error.cause) if isinstance(error, EngineProblem) else CauseCode.INTERNAL
    return Cause(
        code=CauseCode.STORAGE_FULL if full else code,
        message=f"Replica {replica} cannot be started: {error}",
        fix=hint or "Make room on the disk of the home folder." if full else hint,
    )
