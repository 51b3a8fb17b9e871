"""The agent's own page of figures, on a Unix socket: for the gateway, and for whoever may open it.

It answers `/metrics` with the figures of the whole host and `/services/<name>/metrics` with those
of one service. The gateway passes the second kind on to callers that have a key of the service.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import threading
from contextlib import suppress
from pathlib import Path

from modelyard.agent.telemetry.collector import Collector
from modelyard.domain.figures import AGENT, write
from modelyard.domain.telemetry import write_deployments
from modelyard_runtime.families import CONTENT_TYPE
from modelyard_runtime.http.server import Request, Response, Server, error_response

log = logging.getLogger(__name__)

_SERVICE = re.compile(r"/services/([a-z0-9-]+)/metrics")
_BACKLOG = 128


class Page:
    """Answers with figures as they are at this moment."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def __call__(self, request: Request) -> Response:
        """Answer a request."""
        if request.method not in ("GET", "HEAD"):
            return error_response(405, "figures can be read only")
        found = self._collector.look()
        if request.path == "/metrics":
            agent = write([("", found.agent)], AGENT)
            return Response(200, agent + write_deployments(found.deployments), [CONTENT_TYPE])
        service = _SERVICE.fullmatch(request.path)
        if service is None:
            return error_response(404, "there are `/metrics` and `/services/<name>/metrics`")
        own = (d for d in found.deployments if d.service_name == service[1])
        return Response(200, write_deployments(own), [CONTENT_TYPE])


class PageServer(threading.Thread):
    """Serves the page in a thread with an event loop of its own, until it is closed."""

    def __init__(self, path: Path, page: Page) -> None:
        super().__init__(name="figures", daemon=True)
        self._path = path
        self._page = page
        self._loop = asyncio.new_event_loop()
        self._closed = asyncio.Event()

    def run(self) -> None:
        """Serve; a socket that cannot be had leaves callers without figures, and is logged."""
        try:
            self._loop.run_until_complete(self._serve())
        except OSError as error:
            log.error("no figures at %s: %s", self._path, error)
        finally:
            self._loop.close()

    def close(self) -> None:
        """Let go of the socket."""
        with suppress(RuntimeError):  # it has ended already
            self._loop.call_soon_threadsafe(self._closed.set)

    async def _serve(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            self._path.unlink(missing_ok=True)
            listener.bind(str(self._path))
            self._path.chmod(0o600)
            listener.listen(_BACKLOG)
            server = Server(self._page)
            await server.start(listener)
            await self._closed.wait()
            await server.drain(0.0)
