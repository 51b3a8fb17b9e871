"""The REST interface: routes that parse, check who asks, call one thing in `control`, answer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from fastapi import APIRouter, FastAPI

from modelyard import __version__
from modelyard.api import (
    agents,
    alerts,
    blobs,
    captures,
    certificates,
    changes,
    drift,
    errors,
    images,
    keys,
    models,
    moving,
    operations,
    profiles,
    quality,
    replays,
    server,
    services,
    supply_chain,
    telemetry,
)
from modelyard.api.access import RequireToken
from modelyard.api.measuring import Measure, Requests
from modelyard.control.platform import Platform

PREFIX = "/api/v1"


def create_app(
    platform: Platform,
    stop: Callable[[bool], None],
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]] | None = None,
) -> FastAPI:
    """The application; `stop` ends the server, with True everything it started as well."""
    app = FastAPI(
        title="Modelyard",
        version=__version__,
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,  # the usual page loads its scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    errors.install(app)
    router = APIRouter(prefix=PREFIX)
    router.include_router(server.routes(platform, stop))
    router.include_router(blobs.routes(platform.blobs))
    router.include_router(models.routes(platform.models))
    router.include_router(supply_chain.routes(platform.supply_chain))
    router.include_router(images.routes(platform.images, platform.operations))
    router.include_router(profiles.routes(platform.profiles))
    router.include_router(moving.routes(platform.moving))
    router.include_router(services.routes(platform.services))
    router.include_router(changes.routes(platform.changes))
    router.include_router(keys.routes(platform.keys))
    router.include_router(certificates.routes(platform.certificates))
    router.include_router(telemetry.routes(platform.telemetry))
    router.include_router(operations.routes(platform.operations, platform.background))
    router.include_router(alerts.routes(platform.alerts))
    router.include_router(captures.routes(platform.captures, platform.rewriting))
    router.include_router(replays.routes(platform.replays, platform.reproductions))
    router.include_router(captures.agent_routes(platform.captures))
    router.include_router(quality.routes(platform.qualities))
    router.include_router(drift.routes(platform.drift))
    router.include_router(agents.routes(platform.agents, platform.telemetry))
    app.include_router(router)
    requests = Requests()
    app.include_router(telemetry.page(platform.telemetry, platform.alerts, requests))

    @app.get("/livez")
    def livez() -> dict[str, str]:
        """The process answers."""
        return {"status": "live"}

    app.add_middleware(RequireToken, find=platform.principals.find)
    app.add_middleware(Measure, requests=requests, prefix=PREFIX)
    return app
