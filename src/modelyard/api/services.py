"""Routes for services."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from modelyard.api.access import Owner
from modelyard.api.parameters import IdempotencyKey, Position, SearchQuery
from modelyard.api.streams import BATCH, log_response
from modelyard.control.certificates import Certificates
from modelyard.control.services import Services
from modelyard.domain.cause import Cause
from modelyard.domain.change import ServiceChange
from modelyard.domain.clients import ClientCertificate, IssuedCertificate
from modelyard.domain.operation import Operation
from modelyard.domain.search import Page
from modelyard.domain.service import KeySlot, Service, ServiceKeys
from modelyard.domain.tokens import ServiceToken
from modelyard.schemas import (
    AcceptedService,
    AskCertificate,
    AskToken,
    ChangeLabels,
    DeployService,
    SplitService,
    UpdateService,
)


def routes(services: Services, certificates: Certificates) -> APIRouter:
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

    @router.patch("/{name}", status_code=202)
    def update(
        caller: Owner, name: str, body: UpdateService, idempotency_key: IdempotencyKey = None
    ) -> AcceptedService:
        """Change the image or settings of a service."""
        return services.update(caller, name, body, idempotency_key)

    @router.post("/{name}/split", status_code=202)
    def split(
        caller: Owner, name: str, body: SplitService, idempotency_key: IdempotencyKey = None
    ) -> AcceptedService:
        """Have several images share the traffic of a service."""
        return services.split(caller, name, body, idempotency_key)

    @router.post("/{name}/promote", status_code=202)
    def promote(caller: Owner, name: str) -> AcceptedService:
        """Give the candidate all of the traffic."""
        return services.promote(caller, name)

    @router.post("/{name}/rollback", status_code=202)
    def rollback(caller: Owner, name: str) -> AcceptedService:
        """Drop the candidate, or go back to the images and settings that served before."""
        return services.rollback(caller, name)

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

    @router.get("/{name}/keys")
    def keys(caller: Owner, name: str) -> ServiceKeys:
        """Both keys of a service."""
        return services.keys(caller, name)

    @router.post("/{name}/keys/{slot}/regenerate")
    def regenerate(caller: Owner, name: str, slot: KeySlot) -> ServiceKeys:
        """Replace one key; the old one stops working when the gateway has heard of it."""
        return services.regenerate_key(caller, name, slot)

    @router.post("/{name}/token")
    def token(caller: Owner, name: str, body: AskToken) -> ServiceToken:
        """A token for a service whose callers need one."""
        return services.token(caller, name, body)

    @router.get("/{name}/certificates")
    def issued(caller: Owner, name: str) -> tuple[ClientCertificate, ...]:
        """Certificates that were issued to callers of a service, the latest first."""
        return certificates.issued(caller, name)

    @router.post("/{name}/certificates", status_code=201)
    def issue(caller: Owner, name: str, body: AskCertificate) -> IssuedCertificate:
        """A certificate for a caller of a service."""
        return certificates.issue(caller, name, body)

    @router.post("/{name}/certificates/{which}/revoke")
    def revoke(caller: Owner, name: str, which: str) -> tuple[ClientCertificate, ...]:
        """Let a certificate be good no more, by its serial, or all that a caller has."""
        return certificates.revoke(caller, name, which)

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
