"""The agents' own protocol: pull desired state, report observed state, send logs home."""

from __future__ import annotations

import time
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Body, Header, Response

from modelyard.api.access import AgentCaller
from modelyard.api.parameters import Wait
from modelyard.control.agents import Agents
from modelyard.control.telemetry import Telemetry
from modelyard.domain.desired import DesiredState
from modelyard.domain.observed import ObservedState
from modelyard.domain.telemetry import HostFigures, Minute
from modelyard.schemas import LogReceipt, LogSegment


def routes(agents: Agents, telemetry: Telemetry) -> APIRouter:
    """Routes for agents."""
    router = APIRouter(prefix="/agents/{agent}", tags=["agents"])

    @router.get("/desired", response_model=DesiredState, responses={304: {"model": None}})
    async def desired(
        caller: AgentCaller,
        agent: str,
        wait: Wait = 0,
        if_none_match: Annotated[str | None, Header(max_length=100)] = None,
    ) -> Response:
        """What the agent is to do; 304 when nothing is new within `wait` seconds."""
        deadline = time.monotonic() + wait
        while True:
            seen = agents.woken.count
            tag = await to_thread.run_sync(agents.etag, caller, agent)
            if tag != if_none_match:
                state = await to_thread.run_sync(agents.desired, caller, agent)
                return Response(
                    state.model_dump_json(),
                    media_type="application/json",
                    headers={"ETag": f'"{state.fence}.{state.generation}"'},
                )
            left = deadline - time.monotonic()
            if left <= 0:
                return Response(status_code=304, headers={"ETag": tag})
            await agents.woken.wait_async(seen, left)

    @router.put("/observed", status_code=204)
    def observed(caller: AgentCaller, agent: str, body: ObservedState) -> Response:
        """What the agent sees now."""
        agents.observe(caller, agent, body)
        return Response(status_code=204)

    @router.post("/logs")
    def logs(caller: AgentCaller, agent: str, body: LogSegment) -> LogReceipt:
        """One numbered piece of a replica's log."""
        return agents.add_log(caller, agent, body)

    @router.put("/figures", status_code=204)
    def figures(caller: AgentCaller, agent: str, body: HostFigures) -> Response:
        """What has been counted on the agent's host until now."""
        telemetry.tell(caller, agent, body)
        return Response(status_code=204)

    @router.post("/minutes", status_code=204)
    def minutes(
        caller: AgentCaller, agent: str, body: Annotated[list[Minute], Body(max_length=100)]
    ) -> Response:
        """Minutes of figures; one that came before is not stored again."""
        telemetry.keep(caller, agent, body)
        return Response(status_code=204)

    return router
