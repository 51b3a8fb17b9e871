"""What an agent tells of the figures of its host, and what comes of it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, Field

from modelyard.domain.figures import (
    KNOWN,
    SERVED,
    check,
    label_text,
    quantile,
    spread,
    total,
    write,
)
from modelyard.domain.values import Value
from modelyard_runtime.families import Figures

_MOST_DEPLOYMENTS = 1000


def _known(figures: Figures) -> Figures:
    check(figures)
    return figures


KnownFigures = Annotated[Figures, AfterValidator(_known)]
"""Figures of metrics that exist."""


class DeploymentFigures(Value):
    """The figures of one deployment, or those of a service that belong to none."""

    service: UUID
    service_name: str
    deployment: UUID | None = None
    """None: of what the gateway answered without a replica."""
    image: str = ""
    """`name:version`; empty where there is no deployment."""
    figures: KnownFigures


class HostFigures(Value):
    """The figures of one host since its deployments began to serve, as they are now."""

    deployments: tuple[DeploymentFigures, ...] = Field((), max_length=_MOST_DEPLOYMENTS)
    agent: KnownFigures = {}
    """Of the agent itself."""


class Minute(Value):
    """What was counted in one minute, gauges at their highest."""

    begins: datetime
    deployments: tuple[DeploymentFigures, ...] = Field((), max_length=_MOST_DEPLOYMENTS)


class Load(Value):
    """How one service is used: over the last seconds, or over a step of its history."""

    requests: float = 0.0
    """Requests a second, refused ones included."""
    errors: float = 0.0
    """Of these, the ones a second that were answered with 5xx."""
    refused: float = 0.0
    """Of these, the ones a second that were answered with 4xx."""
    p50: float | None = None
    """Seconds that half of the answers took at most; null without requests."""
    p99: float | None = None
    in_flight: float = 0.0
    """Requests that wait or are being scored; the most of a step."""
    cpu: float = 0.0
    """Cores in use."""
    memory: float = 0.0
    """Bytes; the most of a step."""
    replicas: float = 0.0
    ready: float = 0.0
    restarts: float = 0.0
    """Replicas and workers that were started again."""


class ServiceLoad(Load):
    """How a service is used now."""

    service: str
    asleep: bool = False
    """It has no replica, and the next request starts one."""


class Point(Load):
    """How a service was used from one moment on."""

    begins: datetime


class ServiceMetrics(Value):
    """How a service was used over a time."""

    service: str
    step: float
    """Seconds of each point."""
    points: tuple[Point, ...] = ()
    """Oldest first; times without any figures are left out."""


def load(figures: Figures, seconds: float) -> dict[str, float | None]:
    """The fields of a `Load` for what was counted in so many seconds."""
    requests, took = (
        "modelyard_gateway_requests_total",
        "modelyard_gateway_request_duration_seconds",
    )
    times, bounds = spread(figures, took), KNOWN[took].bounds
    return {
        "requests": total(figures, requests) / seconds,
        "errors": total(figures, requests, 'status="5') / seconds,
        "refused": total(figures, requests, 'status="4') / seconds,
        "p50": quantile(times, bounds, 0.5),
        "p99": quantile(times, bounds, 0.99),
        "in_flight": total(figures, "modelyard_requests_in_flight"),
        "cpu": total(figures, "modelyard_cpu_seconds_total") / seconds,
        "memory": total(figures, "modelyard_memory_bytes"),
        "replicas": total(figures, "modelyard_replicas"),
        "ready": total(figures, "modelyard_replicas_ready"),
        "restarts": total(figures, "modelyard_restarts_total"),
    }


def write_deployments(deployments: Iterable[DeploymentFigures]) -> bytes:
    """Prometheus text, each deployment behind labels that say which one it is."""
    return write([(_labels(one), one.figures) for one in deployments], SERVED)


def _labels(one: DeploymentFigures) -> str:
    if one.deployment is None:
        return label_text(service=one.service_name)
    image, _, version = one.image.rpartition(":")
    return label_text(
        service=one.service_name, deployment=str(one.deployment), image=image, version=version
    )
