"""One service in a process of the gateway: who may use it, and what answers for it."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path

from modelyard.agent.gateway.admission import Admission, Refusals
from modelyard.agent.gateway.balancer import Balancer
from modelyard.agent.gateway.board import Seat
from modelyard.agent.gateway.capturing import Recorder, recorder_of
from modelyard.agent.gateway.config import ServiceRoute
from modelyard.agent.gateway.counters import Counters
from modelyard.agent.gateway.feedback import Desk, desk_of
from modelyard_runtime.http.cors import Origins
from modelyard_runtime.http.server import Head

_WANTED = {
    "key": "one of its keys: `Authorization: Bearer <key>`",
    "token": "a token of it that is not over: `Authorization: Bearer <token>`",
}
DEPLOYMENT = b"x-modelyard-deployment"
"""Names the deployment that is to answer, whatever the weights."""


class Service:
    """One service: who may use it, and what answers for it.

    `names` are the ids of its deployments, by what callers may call them.
    """

    __slots__ = (
        "admission",
        "balancer",
        "captured",
        "desk",
        "names",
        "origins",
        "recorder",
        "refusals",
        "sticky",
        "storing",
        "wants",
        "writer",
    )

    def __init__(
        self,
        route: ServiceRoute,
        loop: asyncio.AbstractEventLoop,
        counters: Counters,
        seat: Seat,
        storing: Executor,
        captured: Path | None = None,
    ) -> None:
        self.refusals = Refusals()
        self.balancer = Balancer(route, loop, counters, seat)
        self.captured = captured
        self.writer = f"gateway-{seat.column}"
        self.storing = storing
        self.recorder: Recorder | None = None
        self.desk: Desk | None = None
        self._follow(route)

    def change(self, route: ServiceRoute) -> None:
        """Serve by another route from now on."""
        self._follow(route)
        self.balancer.change(route)

    def take_refusals(self) -> Refusals:
        """Those since the last call."""
        refused = replace(self.refusals)
        self.refusals.count = 0
        return refused

    def _follow(self, route: ServiceRoute) -> None:
        self.admission = Admission(route, self.refusals)
        self.origins = Origins(route.cors_origins) if route.cors_origins else None
        self.wants = _WANTED.get(route.auth, _WANTED["key"])
        self.recorder = recorder_of(route, self.captured, self.writer, self.recorder)
        self.desk = desk_of(route, self.captured, self.writer, self.storing, self.desk)
        self.sticky = route.sticky.encode()
        self.names = {d.image.encode(): d.id for d in route.deployments}
        self.names |= {d.id.encode(): d.id for d in route.deployments}

    def close_segments(self, *, all_of_them: bool = True) -> None:
        """Let the agent have what was written, or as much of it as is due."""
        if self.recorder is not None:
            (self.recorder.close if all_of_them else self.recorder.tick)()
        if self.desk is not None:
            self.desk.tick(close=all_of_them)

    def deployment_for(self, head: Head) -> tuple[str, bool]:
        """The only deployment that may answer, and whether that was asked for; empty: any may.

        Raises:
            LookupError: One was asked for that there is not.
        """
        name = head.headers.get(DEPLOYMENT)
        if name:
            return self.names[name], True
        value = head.headers.get(self.sticky) if self.sticky else None
        return (self.balancer.stuck_to(value), False) if value else ("", False)
