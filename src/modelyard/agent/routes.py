"""From the replicas of a service to its route in the gateway. Pure."""

from __future__ import annotations

from modelyard.agent.assignment import Assignment, lasting_failure
from modelyard.agent.drivers.base import Replica
from modelyard.agent.gateway.config import (
    CaptureRoute,
    DeploymentRoute,
    Key,
    ServiceRoute,
    Upstream,
)
from modelyard.domain.desired import DesiredService
from modelyard.domain.service import Authentication


def route(assignment: Assignment) -> ServiceRoute:
    """The route of one service; without a ready replica it stays and says why."""
    service = assignment.service
    weights = assignment.weights
    images = {r.identity.deployment: r.identity.image for r in assignment.previous}
    images |= {d.id: d.image for d in service.deployments}
    routed = sorted(assignment.routed, key=lambda replica: replica.id)
    return ServiceRoute(
        name=service.name,
        auth=service.auth.value,
        keys=tuple(Key(k.id, k.slot.value, k.hash, k.token_key) for k in service.keys),
        scoring_timeout=service.scoring_timeout,
        max_concurrent_requests=service.max_concurrent_requests,
        max_queue_wait=service.max_queue_wait,
        cors_origins=service.cors_origins,
        clients=service.clients if service.auth is Authentication.CERT else (),
        elastic=service.elastic,
        waking_time=_waking_time(assignment),
        capture=_capture(service),
        upstreams=tuple(
            Upstream(
                socket=replica.address,
                deployment=str(replica.identity.deployment),
                weight=weights[replica.identity.deployment],
                replica=replica.id,
            )
            for replica in routed
        ),
        unavailable="" if routed else _why_unavailable(assignment),
        deployments=tuple(
            DeploymentRoute(str(id_), image, weights[id_])
            for id_, image in images.items()
            if id_ in weights
        ),
        candidate=str(service.candidate or ""),
        shadow=service.shadow,
        sticky=service.sticky,
        judged=service.compared,
    )


def _capture(service: DesiredService) -> CaptureRoute | None:
    wanted = service.capture
    if wanted is None:
        return None
    return CaptureRoute(
        service=str(service.id),
        percent=wanted.percent,
        space=wanted.space,
        when_full=wanted.when_full.value,
        durable=wanted.durable,
        drop=wanted.drop,
        hashed=wanted.hashed,
        key=wanted.key,
        encrypted=wanted.encrypted,
        public=wanted.public,
    )


def _waking_time(assignment: Assignment) -> float:
    """How long requests wait for the first replica, unless none is likely to get ready."""
    kept = [replica for replicas in assignment.kept.values() for replica in replicas]
    if not assignment.service.sleeps or lasting_failure(kept) is not None:
        return 0.0
    return max((d.settings.startup_timeout for d in assignment.wanted), default=0.0)


def _why_unavailable(assignment: Assignment) -> str:
    name = assignment.service.name
    candidates = (*assignment.previous, *(r for kept in assignment.kept.values() for r in kept))
    cause = next((c.cause for c in candidates if c.cause is not None), None)
    return cause.message if cause else _still(name, candidates)


def _still(name: str, candidates: tuple[Replica, ...]) -> str:
    if not candidates:
        return f"`{name}` has no replica yet."
    return f"`{name}` is starting."
