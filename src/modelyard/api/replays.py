"""Routes for replays of captured requests."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter

from modelyard.api.access import Owner
from modelyard.control.replays import Replays
from modelyard.control.reproductions import Reproductions
from modelyard.domain.operation import Operation
from modelyard.domain.replay import Replay
from modelyard.schemas import ReplayService, ReproducePrediction


def routes(replays: Replays, reproductions: Reproductions) -> APIRouter:
    """Routes for replays of captured requests, and of single ones."""
    router = APIRouter(tags=["capture"])

    @router.post("/services/{name}/replays", status_code=202)
    def begin(caller: Owner, name: str, body: ReplayService) -> Operation:
        """Score captured requests with another image; the operation's id is that of the replay."""
        return replays.begin(caller, name, body)

    @router.get("/replays/{replay}")
    def get(caller: Owner, replay: UUID) -> Replay:
        """The report of a replay that has got to its end."""
        return replays.get(caller, replay)

    @router.post("/predictions/{prediction}/reproductions", status_code=202)
    def reproduce(caller: Owner, prediction: str, body: ReproducePrediction) -> Operation:
        """Make a prediction once more by its own image; the operation's `result` tells."""
        return reproductions.begin(caller, prediction, body)

    return router
