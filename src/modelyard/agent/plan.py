"""From what is wanted and what is seen to the next steps of the agent. Pure: time is an argument.

Level-triggered: every step follows from the world as it is now, none from steps taken before, so
the agent may be killed between any two of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count, islice

from modelyard.agent.assignment import Assignment, assign, replica_id
from modelyard.agent.drivers.base import Replica
from modelyard.agent.gateway.config import GatewayConfig
from modelyard.agent.routes import route
from modelyard.agent.world import World
from modelyard.domain.cause import CauseCode
from modelyard.domain.desired import DesiredDeployment, DesiredService, DesiredState
from modelyard.domain.service import ReplicaState


@dataclass(frozen=True, slots=True)
class EnsureImage:
    """Fetch and unpack the image of a deployment."""

    deployment: DesiredDeployment


@dataclass(frozen=True, slots=True)
class StartReplica:
    """Start a replica, or an ended one again."""

    service: DesiredService
    deployment: DesiredDeployment
    replica: str


@dataclass(frozen=True, slots=True)
class ReviveReplica:
    """Start an ended replica again as it was: its deployment is wanted no more, but serves."""

    replica: str


@dataclass(frozen=True, slots=True)
class StopReplica:
    """Drain and end a replica that gets no requests any more."""

    replica: str


@dataclass(frozen=True, slots=True)
class RemoveReplica:
    """Forget an ended replica."""

    replica: str


@dataclass(frozen=True, slots=True)
class ConfigureGateway:
    """Give the gateway a new document."""

    config: GatewayConfig


Step = EnsureImage | StartReplica | ReviveReplica | StopReplica | RemoveReplica | ConfigureGateway


def assignments(desired: DesiredState, world: World) -> tuple[Assignment, ...]:
    """What becomes of the replicas of every wanted service."""
    return tuple(
        assign(service, world.replicas, world.gateway.config) for service in desired.services
    )


def wanted_config(assigned: tuple[Assignment, ...], world: World) -> GatewayConfig:
    """What the gateway is to serve: the document it has when nothing differs."""
    services = tuple(route(a) for a in sorted(assigned, key=lambda a: a.service.name))
    current, view = world.gateway.config, world.gateway
    wanted = replace(
        current,
        services=services,
        certificate=view.certificate,
        figures=view.figures,
        clients=view.clients,
    )
    if wanted == current:
        return current
    return replace(wanted, version=max(current.version, view.applied or 0) + 1)


def plan(desired: DesiredState, world: World, now: float) -> tuple[Step, ...]:
    """The next steps; none when everything is as wanted, or time has to pass."""
    assigned = assignments(desired, world)
    return (
        *_configure(wanted_config(assigned, world), world),
        *(step for assignment in assigned for step in _bring_up(assignment, world, now)),
        *(step for replica in _unneeded(assigned, world) for step in _retire(replica, world)),
    )


def _configure(config: GatewayConfig, world: World) -> Iterator[Step]:
    if config != world.gateway.config:
        yield ConfigureGateway(config)


def _bring_up(assignment: Assignment, world: World, now: float) -> Iterator[Step]:
    for deployment in assignment.wanted:
        ids = list(_to_start(assignment, deployment, world))
        wanting = ids or any(lost_image(replica) for replica in assignment.kept[deployment.id])
        if wanting and deployment.id not in world.images:
            yield EnsureImage(deployment)
        elif ids:
            for replica in ids:
                if _due(replica, world, now):
                    yield StartReplica(assignment.service, deployment, replica)
    for ended in assignment.previous:
        if not ended.alive and _due(ended.id, world, now):
            yield ReviveReplica(ended.id)


def _to_start(assignment: Assignment, deployment: DesiredDeployment, world: World) -> Iterator[str]:
    """Ids of the replicas that do not live: ended ones first, then new ones."""
    kept = assignment.kept[deployment.id]
    yield from (replica.id for replica in kept if not replica.alive)
    taken = {replica.id for replica in world.replicas}
    ids = (replica_id(assignment.service, deployment.id, number) for number in count())
    free = (replica for replica in ids if replica not in taken)
    yield from islice(free, assignment.missing(deployment))


def lost_image(replica: Replica) -> bool:
    """Whether a replica lives and cannot run because its image is gone from the engine."""
    cause = replica.cause
    failed = replica.alive and replica.state is ReplicaState.FAILED
    return failed and cause is not None and cause.code is CauseCode.IMAGE_UNAVAILABLE


def _due(replica: str, world: World, now: float) -> bool:
    return now >= world.not_before.get(replica, now)


def _unneeded(assigned: tuple[Assignment, ...], world: World) -> Iterator[Replica]:
    wanted = {assignment.service.id for assignment in assigned}
    for assignment in assigned:
        yield from assignment.surplus
    yield from (replica for replica in world.replicas if replica.identity.service not in wanted)


def _retire(replica: Replica, world: World) -> Iterator[Step]:
    if not replica.alive:
        yield RemoveReplica(replica.id)
    elif not replica.draining and world.gateway.settled and not _routed(replica, world):
        yield StopReplica(replica.id)


def _routed(replica: Replica, world: World) -> bool:
    return any(
        upstream.replica == replica.id
        for route in world.gateway.config.services
        for upstream in route.upstreams
    )
