"""Routes for images."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from modelyard.api.access import Owner
from modelyard.api.parameters import IdempotencyKey, Position, SearchQuery, reference
from modelyard.api.streams import BATCH, log_response
from modelyard.control.images import Images
from modelyard.control.operations import Operations
from modelyard.domain.image import Image
from modelyard.domain.search import Page
from modelyard.schemas import AcceptedImage, BuildImage, ChangeLabels


def routes(images: Images, operations: Operations) -> APIRouter:
    """Routes for images."""
    router = APIRouter(prefix="/images", tags=["images"])

    @router.post("", status_code=202)
    def build(
        caller: Owner,
        body: BuildImage,
        response: Response,
        idempotency_key: IdempotencyKey = None,
    ) -> AcceptedImage:
        """Build the next version of an image; 200 when the same inputs were built before."""
        accepted = images.build(caller, body, idempotency_key)
        if accepted.reused:
            response.status_code = 200
        return accepted

    @router.get("")
    def search(caller: Owner, query: SearchQuery) -> Page[Image]:
        """Find images, newest first."""
        return images.search(caller, query)

    @router.get("/{name}/versions/{version}")
    def get(caller: Owner, name: str, version: str) -> Image:
        """One version of an image; `latest` is the newest."""
        return images.get(caller, reference(name, version, "image"))

    @router.get("/{name}/versions/{version}/log", response_class=StreamingResponse)
    def log(
        request: Request,
        caller: Owner,
        name: str,
        version: str,
        follow: bool = False,
        after: Position = 0,
    ) -> StreamingResponse:
        """The build log, one JSON object a line; with `follow` until the build ended."""
        operation = images.get(caller, reference(name, version, "image")).operation
        return log_response(
            request,
            lambda position: operations.log(caller, operation, position, BATCH),
            after,
            lambda: not follow or operations.get(caller, operation).state.ended,
            operations.changed,
        )

    @router.patch("/{name}/versions/{version}")
    def change(caller: Owner, name: str, version: str, body: ChangeLabels) -> Image:
        """Change tags or the description; add properties."""
        return images.change_labels(caller, reference(name, version, "image"), body)

    @router.delete("/{name}/versions/{version}", status_code=204)
    def delete(caller: Owner, name: str, version: str) -> Response:
        """Delete an image; refused while a service needs it."""
        images.delete(caller, reference(name, version, "image"))
        return Response(status_code=204)

    return router
