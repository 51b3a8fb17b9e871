"""Captured records: taken in from agents, and asked about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime, ValidationError

from modelyard.api.access import AgentCaller, Owner
from modelyard.api.bodies import receive
from modelyard.control.captures import Captures
from modelyard.control.rewriting import Rewriting
from modelyard.domain.captured import Account, AnswerForm, Forgotten, Segment
from modelyard.errors import InvalidRequest
from modelyard.schemas import AskCaptured, CaptureReceipt, CaptureReport, ForgetCaptured

_TYPES = {
    AnswerForm.JSON: "application/json",
    AnswerForm.CSV: "text/csv",
    AnswerForm.PARQUET: "application/vnd.apache.parquet",
}
_BATCH = 1 << 20


def routes(captures: Captures, rewriting: Rewriting) -> APIRouter:
    """Routes for callers."""
    router = APIRouter(prefix="/capture", tags=["capture"])

    @router.get("/segments")
    def segments(
        caller: Owner,
        service: str | None = None,
        since: AwareDatetime | None = None,
        until: AwareDatetime | None = None,
    ) -> tuple[Segment, ...]:
        """Files of captured records, oldest first."""
        return captures.segments(caller, service, since, until)

    @router.post("/query", response_class=StreamingResponse)
    def query(caller: Owner, body: AskCaptured) -> StreamingResponse:
        """Answer a SELECT, in the form that is asked for."""
        stack = ExitStack()
        path = stack.enter_context(captures.ask(caller, body))
        headers = {
            "Content-Length": str(path.stat().st_size),
            "Content-Disposition": "attachment",
            "X-Content-Type-Options": "nosniff",
        }
        return StreamingResponse(_chunks(path, stack), 200, headers, media_type=_TYPES[body.form])

    @router.get("/services/{service}/account")
    def account(caller: Owner, service: str) -> Account:
        """What became of the requests to a service."""
        return captures.account(caller, service)

    @router.post("/services/{service}/forget")
    def forget(caller: Owner, service: str, body: ForgetCaptured) -> Forgotten:
        """Delete the records of requests that have a value in a field."""
        return rewriting.forget(caller, service, body)

    return router


def agent_routes(captures: Captures) -> APIRouter:
    """Routes for agents."""
    router = APIRouter(prefix="/agents/{agent}/captured", tags=["agents"])

    @router.put("/report", status_code=204)
    def report(caller: AgentCaller, agent: str, body: CaptureReport) -> Response:
        """What became of requests on a host."""
        captures.report(caller, agent, body)
        return Response(status_code=204)

    @router.put("/{epoch}/{sequence}")
    async def segment(
        request: Request,
        caller: AgentCaller,
        agent: str,
        epoch: int,
        sequence: int,
        modelyard_segment: Annotated[str, Header(max_length=8192)],
    ) -> CaptureReceipt:
        """One numbered file of captured records: Parquet; a header tells what it is."""
        told = _segment(modelyard_segment)
        with captures.receive() as arrival:
            await receive(request, arrival.write)
            return await to_thread.run_sync(
                captures.add, caller, agent, epoch, sequence, told, arrival
            )

    return router


def _segment(header: str) -> Segment:
    try:
        return Segment.model_validate_json(header)
    except ValidationError as error:
        raise InvalidRequest(
            f"the header Modelyard-Segment is no segment: {error.errors()[0]['msg']}",
            hint="server and agent may be of different versions: upgrade the older one",
        ) from None


def _chunks(path: Path, stack: ExitStack) -> Iterator[bytes]:
    with stack, path.open("rb") as file:
        while chunk := file.read(_BATCH):
            yield chunk
