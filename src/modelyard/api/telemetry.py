"""Routes for what services count and measure."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from modelyard.api.access import Owner
from modelyard.control.telemetry import KEEP_MINUTES, Telemetry
from modelyard.domain.telemetry import ServiceLoad, ServiceMetrics

_LONGEST = KEEP_MINUTES.total_seconds()


def routes(telemetry: Telemetry) -> APIRouter:
    """Routes for figures."""
    router = APIRouter(tags=["metrics"])

    @router.get("/top")
    def top(caller: Owner) -> tuple[ServiceLoad, ...]:
        """How every service is used now: averages of the last ten seconds."""
        return telemetry.now(caller)

    @router.get("/services/{name}/metrics")
    def metrics(
        caller: Owner,
        name: str,
        last: Annotated[float, Query(gt=0, le=_LONGEST)] = 3600.0,
        step: Annotated[float | None, Query(ge=60, le=_LONGEST)] = None,
    ) -> ServiceMetrics:
        """How a service was used in the last seconds, by steps of whole minutes."""
        return telemetry.history(caller, name, last, step)

    return router
