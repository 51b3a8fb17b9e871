"""Routes that move images: as archives, and to and from image registries."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from modelyard.api.access import Owner
from modelyard.api.parameters import reference
from modelyard.control.moving import Moving
from modelyard.domain.operation import Operation
from modelyard.schemas import ExportImage, ImageForm, ImportImage, PullImage, PushImage


def routes(moving: Moving) -> APIRouter:
    """Routes that move images."""
    router = APIRouter(prefix="/images", tags=["images"])

    @router.post("/imports", status_code=202)
    def import_(caller: Owner, body: ImportImage) -> Operation:
        """Take in an image from an uploaded archive; the operation's `result` names it."""
        return moving.import_(caller, body)

    @router.post("/pulls", status_code=202)
    def pull(caller: Owner, body: PullImage) -> Operation:
        """Take in an image from a registry; the operation's `result` names it."""
        return moving.pull(caller, body)

    @router.post("/{name}/versions/{version}/pushes", status_code=202)
    def push(caller: Owner, name: str, version: str, body: PushImage) -> Operation:
        """Put an image into a registry; the operation's `result` is a `PushedImage`."""
        return moving.push(caller, reference(name, version, "image"), body)

    @router.post("/{name}/versions/{version}/exports", status_code=202)
    def export(caller: Owner, name: str, version: str, body: ExportImage) -> Operation:
        """Make an image ready to be downloaded."""
        return moving.export(caller, reference(name, version, "image"), body)

    @router.get("/{name}/versions/{version}/exports/{form}", response_class=StreamingResponse)
    def download(caller: Owner, name: str, version: str, form: ImageForm) -> StreamingResponse:
        """The image as one tar; it begins at once when it was made ready before."""
        archive = moving.download(caller, reference(name, version, "image"), form)
        headers = {
            "Content-Length": str(archive.size),
            "Content-Disposition": "attachment",
            "X-Content-Type-Options": "nosniff",
        }
        return StreamingResponse(archive.chunks, 200, headers, media_type="application/x-tar")

    return router
