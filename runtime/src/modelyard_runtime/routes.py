"""What a replica answers on which path."""

from __future__ import annotations

import re
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

import orjson

from modelyard_runtime.config import Config
from modelyard_runtime.http.messages import Head
from modelyard_runtime.http.server import JSON, Reply, Request, Response, error_response
from modelyard_runtime.lanes.base import Lane
from modelyard_runtime.memo import Memo, memo_of
from modelyard_runtime.openapi import describe, own_documents
from modelyard_runtime.protocols.base import Page, Protocol, Surface
from modelyard_runtime.scoring import Call, Scorer, asking

_TEXT = (b"content-type", b"text/plain; charset=utf-8")
_PREFIX = re.compile(rb"(?:/[A-Za-z0-9._~-]+)+")
_VERSIONS = {"2": "2.0", "2.0": "2.0", "3": "3.0", "3.0": "3.0", "3.1": "3.1"}
_SHORT = {"2.0": "2", "3.0": "3", "3.1": "3.1"}
_OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY  # samples may be anything
_NOT_FOUND = "The requested URL was not found on the server."
_NOT_ALLOWED = "The method is not allowed for the requested URL."


class Tracing(typing.Protocol):
    """Makes calls that are traced: `modelyard_runtime.otel.calls`."""

    def call(self, scorer: Scorer, request: Request, memo: Memo) -> Call:
        """The request, as lanes take it."""

    def submitting(
        self, submit: Callable[[Call], Call | Response]
    ) -> Callable[[Call], Call | Response]:
        """A lane's `submit`, which may answer at once."""


class Routes:
    """The handler of a worker's server.

    Args:
        lane: Scores.
        scorer: Makes the calls that the lane takes.
        surfaces: The paths of each protocol.
        config: Of the replica.
        unready: Why the replica is not ready, or an empty string.
        tracing: Has requests traced; None: they are not.
    """

    def __init__(
        self,
        lane: Lane,
        scorer: Scorer,
        surfaces: Sequence[Surface],
        config: Config,
        unready: Callable[[], str],
        tracing: Tracing | None = None,
    ) -> None:
        self._submit = lane.submit if tracing is None else tracing.submitting(lane.submit)
        self._call = Call if tracing is None else tracing.call
        self._scorer = scorer
        self._unready = unready
        pages: dict[str, Page] = {
            "/": self._root,
            "/livez": self._live,
            "/readyz": self._ready,
            "/swagger.json": self._swagger,
        }
        own = Surface({path: {"GET": page} for path, page in pages.items()})
        self._surfaces = (*surfaces, own)
        entry = scorer.entry
        described = describe(
            entry.signature, self._surfaces, config.service, config.sample, entry.streams
        )
        self._documents = described | own_documents(config)

    def __call__(self, request: Request) -> Response | Reply:
        """Answer a request; a score is computed elsewhere, all else at once."""
        memo = request.head.memo or memo_of(request.head)
        if memo.protocol is not None:
            return self._submit(self._call(self._scorer, request, memo))
        page: Page | None = memo.page
        if page is not None:
            return page(request)
        answer = self._find(request.head)
        if isinstance(answer, Protocol):
            asking(request.head, answer)
        else:
            memo.page = answer
        return self(request)

    def _find(self, head: Head) -> Protocol | Page:
        path, method = head.path, head.method
        for surface in self._surfaces:
            answers = surface.paths.get(path)
            if answers is not None:
                asked = "GET" if method == "HEAD" and "HEAD" not in answers else method
                return answers.get(asked) or _not_allowed(surface, answers)
        return _not_found(self._surfaces, path)

    def _root(self, request: Request) -> Response:
        return Response(200, b"Healthy", [_TEXT])

    def _live(self, request: Request) -> Response:
        return Response(200, b'{"status":"live"}', [JSON])

    def _ready(self, request: Request) -> Response:
        reason = self._unready()
        return error_response(503, reason) if reason else _json({"status": "ready"})

    def _swagger(self, request: Request) -> Response:
        asked = parse_qs(request.query).get("version", ["2"])[0]
        document = self._documents.get(_VERSIONS.get(asked, ""))
        if document is None:
            known = ", ".join(_SHORT[version] for version in sorted(self._documents))
            problem = "not valid. Supported versions"
            if asked in _VERSIONS:
                problem = "not supported for the scoring script. Supported swagger versions"
            return error_response(404, f"Swagger version [{asked[:20]}] is {problem}: [{known}].")
        prefix = request.headers.get(b"x-forwarded-prefix", b"")
        if _PREFIX.fullmatch(prefix):
            document = _below(document, prefix.decode())
        return _json(document)


def _json(value: Any) -> Response:
    return Response(200, orjson.dumps(value, str, _OPTIONS), [JSON])


def _not_allowed(surface: Surface, answers: Mapping[str, Protocol | Page]) -> Page:
    methods = {*answers, "HEAD"} if "GET" in answers else set(answers)
    allowed = ", ".join(sorted(methods)).encode()

    def page(request: Request) -> Response:
        response = surface.error(405, _NOT_ALLOWED)
        response.headers.append((b"allow", allowed))
        return response

    return page


def _not_found(surfaces: Sequence[Surface], path: str) -> Page:
    errors = (s.error for s in surfaces if s.below and path.startswith(s.below))
    error = next(errors, error_response)
    return lambda request: error(404, _NOT_FOUND)


def _below(document: dict[str, Any], prefix: str) -> dict[str, Any]:
    """The document of a service that a gateway shows below a path of its own."""
    if "swagger" in document:
        return document | {"basePath": prefix}
    return document | {"servers": [{"url": prefix}]}
