"""Routes for changes of services: update, split, promote, rollback."""

from __future__ import annotations

from fastapi import APIRouter, Response

from modelyard.api.access import Owner
from modelyard.api.parameters import IdempotencyKey
from modelyard.control.changes import Changes
from modelyard.schemas import AcceptedService, SplitService, UpdateService


def routes(changes: Changes) -> APIRouter:
    """Routes that change what a service is asked to be."""
    router = APIRouter(prefix="/services", tags=["services"])

    @router.patch("/{name}", status_code=202)
    def update(
        caller: Owner,
        name: str,
        body: UpdateService,
        response: Response,
        idempotency_key: IdempotencyKey = None,
    ) -> AcceptedService:
        """Change the image or settings of a service; 200 when it is so already."""
        return _said(changes.update(caller, name, body, idempotency_key), response)

    @router.post("/{name}/split", status_code=202)
    def split(
        caller: Owner,
        name: str,
        body: SplitService,
        response: Response,
        idempotency_key: IdempotencyKey = None,
    ) -> AcceptedService:
        """Have several images share the traffic of a service; 200 when it is so already."""
        return _said(changes.split(caller, name, body, idempotency_key), response)

    @router.post("/{name}/promote", status_code=202)
    def promote(caller: Owner, name: str) -> AcceptedService:
        """Give the candidate all of the traffic."""
        return changes.promote(caller, name)

    @router.post("/{name}/rollback", status_code=202)
    def rollback(caller: Owner, name: str) -> AcceptedService:
        """Drop the candidate, or go back to the images and settings that served before."""
        return changes.rollback(caller, name)

    return router


def _said(accepted: AcceptedService, response: Response) -> AcceptedService:
    if accepted.unchanged:
        response.status_code = 200
    return accepted
