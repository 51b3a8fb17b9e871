"""How far the traffic of services is from what their models were made for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Query, Request
from pydantic import AwareDatetime

from modelyard.api.access import Owner
from modelyard.api.bodies import receive
from modelyard.control.drift import MOST_BYTES, Drift, Window
from modelyard.domain.drift import Baseline, DriftReport
from modelyard.errors import InvalidRequest

_Text = Annotated[str | None, Query(max_length=300)]


def routes(drift: Drift) -> APIRouter:
    """Routes for drift."""
    router = APIRouter(prefix="/services/{name}", tags=["drift"])

    @router.get("/drift")
    def report(
        caller: Owner,
        name: str,
        since: AwareDatetime | None = None,
        until: AwareDatetime | None = None,
        against_since: AwareDatetime | None = None,
        against_until: AwareDatetime | None = None,
        model: _Text = None,
    ) -> DriftReport:
        """Compare captured rows of whole hours with a baseline, feature by feature.

        `until` is now if it is not given, and `since` 24 hours earlier.
        """
        until = until or datetime.now(UTC)
        window = Window(since or until - timedelta(days=1), until)
        against = None
        if against_since is not None and against_until is not None:
            against = Window(against_since, against_until)
        elif against_since or against_until:
            raise InvalidRequest(
                "a time to compare with has two ends",
                hint="give both `against_since` and `against_until`",
            )
        return drift.report(caller, name, window, against, model)

    @router.post("/baseline")
    async def baseline(
        request: Request,
        caller: Owner,
        name: str,
        ending: Annotated[str, Query(max_length=20)],
        answer: _Text = None,
        model: _Text = None,
    ) -> Baseline:
        """Keep what is in a table, the body, as what a model was made for."""
        with drift.receive() as file:
            await receive(request, file.write, MOST_BYTES)
            await to_thread.run_sync(file.flush)
            path = Path(file.name)
            return await to_thread.run_sync(
                drift.set_baseline, caller, name, path, ending, answer, model
            )

    return router
