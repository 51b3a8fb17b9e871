"""Routes for profiles of images."""

from __future__ import annotations

from fastapi import APIRouter

from modelyard.api.access import Owner
from modelyard.api.parameters import reference
from modelyard.control.profiles import Profiles
from modelyard.domain.operation import Operation
from modelyard.schemas import ProfileImage


def routes(profiles: Profiles) -> APIRouter:
    """Routes for profiles of images."""
    router = APIRouter(tags=["images"])

    @router.post("/images/{name}/versions/{version}/profiles", status_code=202)
    def begin(caller: Owner, name: str, version: str, body: ProfileImage) -> Operation:
        """Measure an image under rising concurrency; the operation's `result` is the profile."""
        return profiles.begin(caller, reference(name, version, "image"), body)

    return router
