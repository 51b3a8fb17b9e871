"""Decides for one service which replicas stay and which of them get requests. Pure.

New deployments come up beside what serves and get their share only when all of their replicas are
ready; what served before stays until then, and for good when the new ones cannot get ready. Nothing
is remembered: what serves now is read from the gateway's own document.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from modelyard.agent.drivers.base import Replica
from modelyard.agent.gateway.config import GatewayConfig
from modelyard.domain.cause import OF_THE_SCRIPT, Cause
from modelyard.domain.desired import DesiredDeployment, DesiredService
from modelyard.domain.service import ReplicaState

_RANK = {ReplicaState.READY: 0, ReplicaState.STARTING: 1, ReplicaState.FAILED: 2}
_DEAD = 3
_WHOLE = 100  # weight of a deployment that is wanted no more and serves until its successor does
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
    weights: Mapping[UUID, int]
    """Share of each deployment that gets requests now, in relation to the others."""

    @property
    def routed(self) -> tuple[Replica, ...]:
        """The replicas that get requests now."""
        everyone = (*self.previous, *(r for kept in self.kept.values() for r in kept))
        return tuple(r for r in everyone if r.ready and r.identity.deployment in self.weights)

    def missing(self, deployment: DesiredDeployment) -> int:
        """How many replicas a wanted deployment lacks, ready or not."""
        return max(self.service.replicas_of(deployment) - len(self.kept[deployment.id]), 0)

    def complete(self, deployment: DesiredDeployment) -> bool:
        """Whether a wanted deployment has all its replicas ready."""
        return _complete(self.service, deployment, self.kept)


def assign(
    service: DesiredService, replicas: tuple[Replica, ...], config: GatewayConfig
) -> Assignment:
    """Sort the replicas of all services by what becomes of them for this one.

    `config` is what the gateway was told last: the deployments in it are those that serve.
    """
    own = [replica for replica in replicas if replica.identity.service == service.id]
    wanted = service.wanted
    present = _present_weights(config, service.name)
    kept = {d.id: _keep(own, d.id, service.replicas_of(d)) for d in wanted}
    growing = [d for d in wanted if d.weight > present.get(d.id, 0)]
    arrived = all(_complete(service, d, kept) for d in growing)
    previous: tuple[Replica, ...] = ()
    weights = {d.id: d.weight for d in wanted}
    if not arrived:
        previous = _previous(service, own, kept, present)
        stay = kept.keys() | {replica.identity.deployment for replica in previous}
        weights = {d: weight for d, weight in present.items() if d in stay} or (
            {r.identity.deployment: _WHOLE for r in previous} or weights
        )
        # What serves gives nothing away before the others can take it.
        kept |= {d: _keep(own, d, service.replicas) for d in kept.keys() & weights.keys()}
    stays = {replica.id for group in (*kept.values(), previous) for replica in group}
    surplus = tuple(replica for replica in own if replica.id not in stays)
    return Assignment(service, wanted, kept, previous, surplus, weights)


def _keep(own: list[Replica], deployment: UUID, number: int) -> tuple[Replica, ...]:
    """The best replicas of a deployment, so that scaling down takes the least useful."""
    candidates = [r for r in own if r.identity.deployment == deployment and not r.draining]
    return tuple(sorted(candidates, key=_usefulness)[:number])


def _usefulness(replica: Replica) -> tuple[int, int]:
    rank = _RANK[replica.state] if replica.alive else _DEAD
    return rank, replica_number(replica.id)


def _complete(
    service: DesiredService, deployment: DesiredDeployment, kept: Mapping[UUID, tuple[Replica, ...]]
) -> bool:
    ready = sum(replica.ready for replica in kept[deployment.id])
    return ready >= service.replicas_of(deployment)


def _previous(
    service: DesiredService,
    own: list[Replica],
    kept: Mapping[UUID, tuple[Replica, ...]],
    present: Mapping[UUID, int],
) -> tuple[Replica, ...]:
    others = [r for r in own if r.identity.deployment not in kept and not r.draining]
    in_use = [r for r in others if r.identity.deployment in present]
    if kept.keys() & present.keys():
        # Something wanted serves, so what was taken out of the document can go at once.
        known = {deployment.id for deployment in service.deployments}
        return tuple(r for r in in_use if r.identity.deployment in known)
    return tuple(in_use or others)


def _present_weights(config: GatewayConfig, service: str) -> dict[UUID, int]:
    """The deployments that the gateway was told to serve, with their shares."""
    for route in config.services:
        if route.name == service:
            return {
                **{UUID(upstream.deployment): upstream.weight for upstream in route.upstreams},
                **{UUID(deployment.id): deployment.weight for deployment in route.deployments},
            }
    return {}


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
