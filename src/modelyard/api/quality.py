"""Routes for how good answers were."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from modelyard.api.access import Owner
from modelyard.control.quality import Qualities
from modelyard.domain.quality import AskQuality, Quality


def routes(qualities: Qualities) -> APIRouter:
    """Routes for callers."""
    router = APIRouter(tags=["capture"])

    @router.get("/services/{name}/quality")
    def quality(caller: Owner, name: str, asked: Annotated[AskQuality, Query()]) -> Quality:
        """How good a service's answers were, by the truths that were told of them."""
        return qualities.measure(caller, name, asked)

    return router
