"""Routes about the origin and the contents of images."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse

from modelyard.api.access import Owner
from modelyard.api.parameters import reference
from modelyard.control.supply_chain import SupplyChain
from modelyard.domain.packages import PackageUse
from modelyard.domain.search import Page
from modelyard.domain.signature import PublicKey
from modelyard.images.sbom import MEDIA_TYPE


class CycloneDxResponse(Response):
    """A document as it was stored."""

    media_type = MEDIA_TYPE


def routes(images: SupplyChain) -> APIRouter:
    """Routes about the origin and the contents of images."""
    router = APIRouter(prefix="/images", tags=["images"])

    @router.get("/key")
    def key(caller: Owner) -> PublicKey:
        """The public key that checks the signatures of the workspace's images."""
        return images.key(caller)

    @router.get("/packages")
    def packages(
        caller: Owner,
        requirement: Annotated[str, Query(max_length=1000)],
        limit: Annotated[int, Query(ge=1, le=1000)] = 50,
        page: str | None = None,
    ) -> Page[PackageUse]:
        """Images with a package, `jinja2` or `jinja2<3.1.4`, and the services that use them."""
        return images.find_package(caller, requirement, limit, page)

    @router.get("/{name}/versions/{version}/sbom", response_class=CycloneDxResponse)
    def sbom(caller: Owner, name: str, version: str) -> CycloneDxResponse:
        """What is inside an image, as CycloneDX 1.6; made when it was built, and signed with it."""
        return CycloneDxResponse(images.sbom(caller, reference(name, version, "image")))

    @router.get("/{name}/versions/{version}/verification", response_class=StreamingResponse)
    def verify(caller: Owner, name: str, version: str) -> StreamingResponse:
        """Read all that is stored of an image; one JSON object a line for each part, when done."""
        parts = images.verify(caller, reference(name, version, "image"))
        lines = (part.model_dump_json().encode() + b"\n" for part in parts)
        return StreamingResponse(lines, media_type="application/x-ndjson")

    return router
