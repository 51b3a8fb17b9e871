"""What a replica answers on which path."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import orjson

from modelyard_runtime.http import JSON, Reply, Request, Response, error_response
from modelyard_runtime.lanes import Lane

_TEXT = (b"content-type", b"text/plain; charset=utf-8")
_PREFIX = re.compile(rb"(?:/[A-Za-z0-9._~-]+)+")
_READ = ("GET", "HEAD")
_VERSIONS = {"2": "2", "2.0": "2", "3": "3", "3.0": "3"}
_NOT_FOUND = "The requested URL was not found on the server."
_NOT_ALLOWED = "The method is not allowed for the requested URL."


class Routes:
    """The handler of a worker's server.

    Args:
        lane: Scores.
        documents: The descriptions of the service, by version.
        unready: Why the replica is not ready, or an empty string.
    """

    def __init__(
        self, lane: Lane, documents: dict[str, dict[str, Any]], unready: Callable[[], str]
    ) -> None:
        self._submit = lane.submit
        self._documents = documents
        self._unready = unready
        self._pages: dict[str, Callable[[Request], Response]] = {
            "/": self._root,
            "/livez": self._live,
            "/readyz": self._ready,
            "/swagger.json": self._swagger,
        }

    def __call__(self, request: Request) -> Response | Reply:
        """Answer a request; a score is computed elsewhere, all else at once."""
        if request.path == "/score":
            if request.method == "POST" or request.method in _READ:
                return self._submit(request)
            return _score_options(request)
        page = self._pages.get(request.path)
        if page is None:
            return error_response(404, _NOT_FOUND)
        if request.method not in _READ:
            return _not_allowed(b"GET, HEAD")
        return page(request)

    def _root(self, request: Request) -> Response:
        return Response(200, b"Healthy", [_TEXT])

    def _live(self, request: Request) -> Response:
        return Response(200, b'{"status":"live"}', [JSON])

    def _ready(self, request: Request) -> Response:
        reason = self._unready()
        return error_response(503, reason) if reason else _json({"status": "ready"})

    def _swagger(self, request: Request) -> Response:
        asked = parse_qs(request.query).get("version", ["2"])[0]
        version = _VERSIONS.get(asked)
        if version is None:
            message = f"Swagger version [{asked[:20]}] is not valid. Supported versions: [2, 3]."
            return error_response(404, message)
        document = self._documents[version]
        prefix = request.headers.get(b"x-forwarded-prefix", b"")
        if _PREFIX.fullmatch(prefix):
            document = _below(document, prefix.decode())
        return _json(document)


def _json(value: Any) -> Response:
    return Response(200, orjson.dumps(value), [JSON])


def _not_allowed(allowed: bytes) -> Response:
    response = error_response(405, _NOT_ALLOWED)
    response.headers.append((b"allow", allowed))
    return response


def _score_options(request: Request) -> Response:
    allowed = b"GET, HEAD, OPTIONS, POST"
    if request.method == "OPTIONS":
        return Response(200, b"", [(b"content-type", b"text/html"), (b"allow", allowed)])
    return _not_allowed(allowed)


def _below(document: dict[str, Any], prefix: str) -> dict[str, Any]:
    """The document of a service that a gateway shows below a path of its own."""
    if "swagger" in document:
        return document | {"basePath": prefix}
    return document | {"servers": [{"url": prefix}]}
