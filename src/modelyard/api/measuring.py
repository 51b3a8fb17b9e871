"""Counts and times of the server's own requests, by route: a layer around the application."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from modelyard.domain.figures import label_text
from modelyard_runtime.families import SECONDS, Figures

_UNKNOWN = "other"


class Requests:
    """What became of requests. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, str, int], float] = {}
        self._times: dict[tuple[str, str], list[float]] = {}

    def add(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered."""
        with self._lock:
            key = method, route, status
            self._counts[key] = self._counts.get(key, 0.0) + 1
            times = self._times.setdefault((method, route), [0.0] * (len(SECONDS) + 2))
            times[bisect_left(SECONDS, seconds)] += 1
            times[-1] += seconds

    def figures(self) -> Figures:
        """Counts and times until now."""
        with self._lock:
            return {
                "modelyard_server_requests_total": {
                    label_text(method=method, route=route, status=str(status)): [count]
                    for (method, route, status), count in self._counts.items()
                },
                "modelyard_server_request_duration_seconds": {
                    label_text(method=method, route=route): [*times]
                    for (method, route), times in self._times.items()
                },
            }


class Measure:
    """Counts every request when its answer begins.

    Args:
        app: What is measured.
        requests: Where it is counted.
        prefix: What most routes begin with; they are told without it.
    """

    def __init__(self, app: ASGIApp, requests: Requests, prefix: str) -> None:
        self._app = app
        self._prefix = prefix
        self._requests = requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()

        async def count(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", _UNKNOWN).removeprefix(self._prefix)
                method = scope["method"] if route != _UNKNOWN else _UNKNOWN
                took = time.perf_counter() - began
                self._requests.add(method, route, message["status"], took)
            await send(message)

        await self._app(scope, receive, count)
