"""Routes for what services count and measure."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from modelyard.api.access import Owner
from modelyard.api.measuring import Requests
from modelyard.control.alerts import Alerts
from modelyard.control.telemetry import KEEP_MINUTES, Telemetry
from modelyard.domain.figures import AGENT, SERVER, label_text, write
from modelyard.domain.telemetry import ServiceLoad, ServiceMetrics, write_deployments
from modelyard_runtime.families import CONTENT_TYPE

_PROMETHEUS = CONTENT_TYPE[1].decode()
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


def page(telemetry: Telemetry, alerts: Alerts, requests: Requests) -> APIRouter:
    """The page for Prometheus, where it looks for one."""
    router = APIRouter(tags=["metrics"])

    @router.get("/metrics", response_class=Response)
    def prometheus(caller: Owner) -> Response:
        """Figures of the server, of its agents, and of all their services."""
        hosts = list(telemetry.hosts())
        own = requests.figures() | telemetry.server(caller) | alerts.figures(caller)
        server = write([("", own)], SERVER)
        agents = write([(label_text(agent=name), host.agent) for name, host in hosts], AGENT)
        services = write_deployments(one for _, host in hosts for one in host.deployments)
        return Response(server + agents + services, media_type=_PROMETHEUS)

    return router
