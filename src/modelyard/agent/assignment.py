"""Decides for one service which replicas stay and which of them get requests. Pure.

New deployments come up beside the old one and take its place only when all of them are ready; what
served before stays until then, and for good when the new ones cannot get ready. Nothing is
remembered: what serves now is read from the gateway's own document.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from modelyard.agent.drivers.base import Replica
from modelyard.agent.gateway.config import GatewayConfig
from modelyard.domain.cause import OF_THE_SCRIPT, Cause
from modelyard.domain.service import DesiredDeployment, DesiredService, ReplicaState

_RANK = {ReplicaState.READY: 0, ReplicaState.STARTING: 1, ReplicaState.FAILED: 2}
_DEAD = 3
_MOST_RESTARTS = 3
"""Restarts in a row after which any other cause counts as lasting, too."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """The replicas of one service, sorted by what becomes of them."""

    service: DesiredService
    wanted: tuple[DesiredDeployment, ...]
    """Deployments that are to serve."""
    kept: Mapping[UUID, tuple[Replica, ...]]
    """Replicas of each wanted deployment, as many as there are up to the wanted number."""
    previous: tuple[Replica, ...]
    """Replicas of earlier deployments, which serve until the wanted ones are ready."""
    surplus: tuple[Replica, ...]
    """Replicas to be stopped and removed."""

    @property
    def routed(self) -> tuple[Replica, ...]:
        """The replicas that get requests now."""
        serving = self.previous or tuple(r for kept in self.kept.values() for r in kept)
        return tuple(replica for replica in serving if replica.ready)

    def complete(self, deployment: UUID) -> bool:
        """Whether a wanted deployment has all its replicas ready."""
        ready = sum(replica.ready for replica in self.kept[deployment])
        return ready == self.service.replicas


def assign(
    service: DesiredService, replicas: tuple[Replica, ...], config: GatewayConfig
) -> Assignment:
    """Sort the replicas of all services by what becomes of them for this one.

    `config` is what the gateway was told last: the deployments in it are those that serve.
    """
    own = [replica for replica in replicas if replica.identity.service == service.id]
    wanted = tuple(deployment for deployment in service.deployments if deployment.weight > 0)
    kept = {d.id: _keep(own, d.id, service.replicas) for d in wanted}
    serving = _serving_deployments(config, service.name)
    assignment = Assignment(service, wanted, kept, (), ())
    arrived = any(d.id in serving for d in wanted) or all(assignment.complete(d.id) for d in wanted)
    previous = () if arrived else _previous(own, kept, serving)
    stays = {replica.id for group in (*kept.values(), previous) for replica in group}
    surplus = tuple(replica for replica in own if replica.id not in stays)
    return Assignment(service, wanted, kept, previous, surplus)


def _keep(own: list[Replica], deployment: UUID, number: int) -> tuple[Replica, ...]:
    """The best replicas of a deployment, so that scaling down takes the least useful."""
    candidates = [r for r in own if r.identity.deployment == deployment and not r.draining]
    return tuple(sorted(candidates, key=_usefulness)[:number])


def _usefulness(replica: Replica) -> tuple[int, int]:
    rank = _RANK[replica.state] if replica.alive else _DEAD
    return rank, replica_number(replica.id)


def _previous(
    own: list[Replica], kept: Mapping[UUID, tuple[Replica, ...]], serving: frozenset[UUID]
) -> tuple[Replica, ...]:
    others = [r for r in own if r.identity.deployment not in kept and not r.draining]
    in_use = [r for r in others if r.identity.deployment in serving]
    return tuple(in_use or others)


def _serving_deployments(config: GatewayConfig, service: str) -> frozenset[UUID]:
    return frozenset(
        UUID(upstream.deployment)
        for route in config.services
        if route.name == service
        for upstream in route.upstreams
    )


def replica_id(service: DesiredService, deployment: UUID, number: int) -> str:
    """The id of a deployment's replica with this number, such as `digits-3f9a1c20-0`."""
    return f"{service.name}-{deployment.hex[:8]}-{number}"


def replica_number(replica: str) -> int:
    """The number at the end of a replica's id."""
    return int(replica.rpartition("-")[2])


def lasting_failure(replicas: Iterable[Replica]) -> Cause | None:
    """Why a replica cannot get ready, once further starts are not likely to help."""
    for replica in replicas:
        cause = replica.cause
        enough = 1 if cause and cause.code in OF_THE_SCRIPT else _MOST_RESTARTS + 1
        if cause is not None and replica.failures >= enough:
            return cause
    return None
