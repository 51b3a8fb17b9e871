"""Routes for operations."""

from __future__ import annotations

import time
from uuid import UUID

from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from modelyard.api.access import Owner
from modelyard.api.parameters import Position, SearchQuery, Wait
from modelyard.api.streams import BATCH, log_response
from modelyard.control.background import Background
from modelyard.control.operations import Operations
from modelyard.domain.operation import Operation
from modelyard.domain.search import Page


def routes(operations: Operations, background: Background) -> APIRouter:
    """Routes for operations."""
    router = APIRouter(prefix="/operations", tags=["operations"])

    @router.get("")
    def search(caller: Owner, query: SearchQuery) -> Page[Operation]:
        """Operations, newest first; `name` is that of the image or service."""
        return operations.search(caller, query)

    @router.get("/{operation}")
    async def get(caller: Owner, operation: UUID, wait: Wait = 0) -> Operation:
        """One operation; with `wait` the answer comes when it ended or the time is over."""
        deadline = time.monotonic() + wait
        while True:
            seen = operations.changed.count
            found = await to_thread.run_sync(operations.get, caller, operation)
            left = deadline - time.monotonic()
            if found.state.ended or left <= 0:
                return found
            await operations.changed.wait_async(seen, left)

    @router.get("/{operation}/log", response_class=StreamingResponse)
    def log(
        request: Request, caller: Owner, operation: UUID, follow: bool = False, after: Position = 0
    ) -> StreamingResponse:
        """The operation's log, one JSON object a line; with `follow` until it ended."""
        operations.get(caller, operation)
        return log_response(
            request,
            lambda position: operations.log(caller, operation, position, BATCH),
            after,
            lambda: not follow or operations.get(caller, operation).state.ended,
            operations.changed,
        )

    @router.post("/{operation}/cancel")
    def cancel(caller: Owner, operation: UUID) -> Operation:
        """End the building, profiling, replaying or moving of an image, and nothing else."""
        return background.cancel(caller, operation)

    return router
