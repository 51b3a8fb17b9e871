"""Routes for services."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from modelyard.api.access import Owner
from modelyard.api.parameters import IdempotencyKey, Position, SearchQuery
from modelyard.api.streams import BATCH, log_response
from modelyard.control.services import Services
from modelyard.domain.cause import Cause
from modelyard.domain.change import ServiceChange
from modelyard.domain.operation import Operation
from modelyard.domain.search import Page
from modelyard.domain.service import Service
from modelyard.schemas import AcceptedService, ChangeLabels, DeployService


def routes(services: Services) -> APIRouter:
    """Routes for services."""
    router = APIRouter(prefix="/services", tags=["services"])

    @router.post("", status_code=202)
    def deploy(
        caller: Owner, body: DeployService, idempotency_key: IdempotencyKey = None
    ) -> AcceptedService:
        """Create a service that runs an image."""
        return services.deploy(caller, body, idempotency_key)

    @router.get("")
    def search(caller: Owner, query: SearchQuery) -> Page[Service]:
        """Find services, newest first."""
        return services.search(caller, query)

    @router.get("/{name}")
    def get(caller: Owner, name: str) -> Service:
        """One service with what was last observed of it."""
        return services.get(caller, name)

    @router.get("/{name}/history")
    def history(caller: Owner, name: str) -> tuple[ServiceChange, ...]:
        """What a service was asked to be, newest first, and what became of it."""
        return services.history(caller, name)

    @router.patch("/{name}/labels")
    def change(caller: Owner, name: str, body: ChangeLabels) -> Service:
        """Change tags or the description; add properties."""
        return services.change_labels(caller, name, body)

    @router.delete("/{name}", status_code=202)
    def delete(caller: Owner, name: str) -> Operation:
        """Drain the replicas of a service and remove it."""
        return services.delete(caller, name)

    @router.get("/{name}/logs", response_class=StreamingResponse)
    def logs(
        request: Request,
        caller: Owner,
        name: str,
        replica: str | None = None,
        follow: bool = False,
        after: Position = 0,
        tail: Position | None = None,
        request_id: Annotated[str | None, Query(alias="request", max_length=120)] = None,
    ) -> StreamingResponse:
        """Logs of the replicas, one JSON object a line, back to their start.

        With `request`, only what was printed for the request with this id.
        """
        service = services.get(caller, name)
        if replica is not None:
            services.refuse_unknown_replica(service, replica)
        start = after if tail is None else services.log_position(service, replica, tail)
        return log_response(
            request,
            lambda position: services.logs(service, replica, position, BATCH),
            start,
            lambda: not follow,
            services.logged,
            lambda line: request_id is None or line.request == request_id,
        )

    @router.get("/{name}/why")
    def why(caller: Owner, name: str) -> Cause | None:
        """The one cause for anything not ready; null when there is nothing to say."""
        return services.why(caller, name)

    return router
