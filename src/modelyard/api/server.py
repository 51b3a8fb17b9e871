"""Routes about the server itself."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, BackgroundTasks

from modelyard import __version__
from modelyard.api.access import Owner
from modelyard.control.platform import Platform
from modelyard.schemas import ServerInfo


def routes(platform: Platform, stop: Callable[[bool], None]) -> APIRouter:
    """Routes about the server itself."""
    router = APIRouter(tags=["server"])

    @router.get("/info")
    def info(caller: Owner) -> ServerInfo:
        """What answers, and where services of this host can be reached."""
        return ServerInfo(
            version=__version__,
            workspace=caller.workspace,
            principal=caller.name,
            gateway=platform.agents.gateway_url(platform.local_agent),
            authority=platform.authority,
            server_authority=platform.server_authority,
        )

    @router.post("/server/stop", status_code=202)
    def stop_server(caller: Owner, background: BackgroundTasks, everything: bool = False) -> None:
        """End the server; with `everything` its agent, the gateway and all replicas too."""
        del caller
        background.add_task(stop, everything)

    return router
