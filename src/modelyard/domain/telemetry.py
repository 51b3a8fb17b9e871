"""What an agent tells of the figures of its host, and what comes of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, Field

from modelyard.domain.figures import check
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
