"""Routes for models."""

from __future__ import annotations

from fastapi import APIRouter, Response

from modelyard.api.access import Owner
from modelyard.api.parameters import IdempotencyKey, SearchQuery, reference
from modelyard.control.models import Models
from modelyard.domain.model import Model
from modelyard.domain.search import Page
from modelyard.schemas import ChangeLabels, RegisterModel


def routes(models: Models) -> APIRouter:
    """Routes for models."""
    router = APIRouter(prefix="/models", tags=["models"])

    @router.post("", status_code=201)
    def register(
        caller: Owner, body: RegisterModel, idempotency_key: IdempotencyKey = None
    ) -> Model:
        """Register the next version of a model from uploaded blobs."""
        return models.register(caller, body, idempotency_key)

    @router.get("")
    def search(caller: Owner, query: SearchQuery) -> Page[Model]:
        """Find models, newest first."""
        return models.search(caller, query)

    @router.get("/{name}/versions/{version}")
    def get(caller: Owner, name: str, version: str) -> Model:
        """One version of a model; `latest` is the newest."""
        return models.get(caller, reference(name, version, "model"))

    @router.patch("/{name}/versions/{version}")
    def change(caller: Owner, name: str, version: str, body: ChangeLabels) -> Model:
        """Change tags or the description; add properties."""
        return models.change_labels(caller, reference(name, version, "model"), body)

    @router.delete("/{name}/versions/{version}", status_code=204)
    def delete(caller: Owner, name: str, version: str) -> Response:
        """Delete a version; refused while an image needs it."""
        models.delete(caller, reference(name, version, "model"))
        return Response(status_code=204)

    return router
