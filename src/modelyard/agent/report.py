"""From what is wanted and what is seen to what the agent reports of its services. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from uuid import UUID

from modelyard.agent.assignment import Assignment, lasting_failure
from modelyard.agent.drivers.base import Replica
from modelyard.agent.judging import Ruling, Stage
from modelyard.agent.plan import assignments, wanted_config
from modelyard.agent.world import World
from modelyard.domain.cause import Cause
from modelyard.domain.desired import DesiredState
from modelyard.domain.observed import ObservedDeployment, ObservedService


def report(
    desired: DesiredState,
    world: World,
    reached: Mapping[UUID, int],
    notices: Mapping[str, Cause] | None = None,
    rulings: Mapping[UUID, Ruling] | None = None,
) -> tuple[ObservedService, ...]:
    """How every service of this host is doing, also those that are wanted no more but still here.

    Args:
        desired: What is wanted.
        world: What is seen.
        reached: The generation that each service had fully reached before.
        notices: What callers of a service should know, by its name.
        rulings: What is decided of services in whose deployments one is judged.
    """
    assigned = assignments(desired, world)
    settled = wanted_config(assigned, world) == world.gateway.config and world.gateway.settled
    told, ruled = notices or {}, rulings or {}
    wanted = tuple(
        _ruled(
            _service(a, world, settled, reached.get(a.service.id, 0), told.get(a.service.name)),
            ruled.get(a.service.id),
            reached.get(a.service.id, 0),
        )
        for a in assigned
    )
    return wanted + tuple(_leftovers(desired, world))


def _service(
    assignment: Assignment, world: World, settled: bool, reached: int, notice: Cause | None
) -> ObservedService:
    service = assignment.service
    served = settled and world.gateway.applied is not None
    ready = {d.id for d in assignment.wanted if assignment.complete(d) and served}
    others = [*assignment.previous, *assignment.surplus]
    arrived = len(ready) == len(assignment.wanted) and not any(r.alive for r in others)
    return ObservedService(
        id=service.id,
        name=service.name,
        generation=service.generation if arrived else min(reached, service.generation),
        deployments=(
            *(_wanted(assignment, d.id, world, d.id in ready) for d in assignment.wanted),
            *_unwanted([r for r in others if r.identity.deployment not in assignment.kept]),
        ),
        notice=notice,
    )


def _ruled(service: ObservedService, ruling: Ruling | None, reached: int) -> ObservedService:
    """The same as it is judged: on its way until the candidate is alone, failed if it is worse."""
    if ruling is None or ruling.stage is Stage.DONE:
        return service
    update: dict[str, object] = {"generation": min(service.generation, reached)}
    if ruling.stage is Stage.STANDBY or ruling.is_canary:
        update = {}
    if ruling.stage is not Stage.WORSE:
        update["standby"] = ruling.incumbent
        return service.model_copy(update=update)
    failed = [d for d in service.deployments if d.id == ruling.candidate] or [
        ObservedDeployment(id=ruling.candidate, ready=False)
    ]
    others = [d for d in service.deployments if d.id != ruling.candidate]
    update["deployments"] = (
        *others,
        *(d.model_copy(update={"ready": False, "failed": ruling.cause}) for d in failed),
    )
    return service.model_copy(update=update)


def _wanted(
    assignment: Assignment, deployment: UUID, world: World, ready: bool
) -> ObservedDeployment:
    kept = assignment.kept[deployment]
    surplus = [r for r in assignment.surplus if r.identity.deployment == deployment and r.alive]
    return ObservedDeployment(
        id=deployment,
        ready=ready,
        failed=None if ready else world.problems.get(deployment) or lasting_failure(kept),
        comparison=world.comparisons.get(deployment),
        replicas=tuple(replica.status() for replica in (*kept, *surplus)),
    )


def _unwanted(replicas: Iterable[Replica]) -> Iterable[ObservedDeployment]:
    alive = [replica for replica in replicas if replica.alive]
    for deployment in sorted({replica.identity.deployment for replica in alive}):
        yield ObservedDeployment(
            id=deployment,
            ready=False,
            replicas=tuple(r.status() for r in alive if r.identity.deployment == deployment),
        )


def _leftovers(desired: DesiredState, world: World) -> Iterable[ObservedService]:
    """Services that are wanted no more, while replicas of theirs still drain."""
    wanted = {service.id for service in desired.services}
    left = [r for r in world.replicas if r.alive and r.identity.service not in wanted]
    names = {replica.identity.service: replica.identity.service_name for replica in left}
    for service in sorted(names):
        own = [replica for replica in left if replica.identity.service == service]
        yield ObservedService(
            id=service, name=names[service], generation=0, deployments=tuple(_unwanted(own))
        )
