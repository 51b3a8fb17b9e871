"""Cross-origin requests: which web pages' scripts may read the answers of a replica.

Switched on by the environment variable `MODELYARD_CORS_ORIGINS`, or by the original's name for it.
A worker puts it around its routes, so that every answer carries the fields, refusals too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from modelyard_runtime.http.messages import Head, Headers, HttpError, Reply, Request, Response
from modelyard_runtime.http.server import Handler

VARIABLES = ("MODELYARD_CORS_ORIGINS", "AML_CORS_ORIGINS")
"""A comma-separated list of origins, such as `https://app.example`, or `*` for any."""

Fields = list[tuple[bytes, bytes]]
Admit = Callable[[Head], Response | None]
"""Refuses a request by its head, or does not."""

_METHODS = b"GET, POST"
_ALLOW_ORIGIN = b"access-control-allow-origin"
_VARY = (b"vary", b"Origin")


def across_origins(handler: Handler, environment: Mapping[str, str]) -> Handler:
    """A handler that also does what the environment says of origins; itself if that is nothing."""
    stated = (environment.get(name, "").strip() for name in VARIABLES)
    origins = next(filter(None, stated), "")
    return Cors(origins, handler) if origins else handler


class Cors:
    """A handler around another one.

    Args:
        origins: Which pages may read answers, separated by commas.
        handler: Answers.
    """

    def __init__(self, origins: str, handler: Handler) -> None:
        listed = (origin.strip().lower().encode() for origin in origins.split(","))
        self._origins = frozenset(filter(None, listed))
        self._any = b"*" in self._origins
        self._handler = handler

    def __call__(self, request: Request) -> Response | Reply:
        """Answer a browser that asks first; let the handler answer all else."""
        fields = self._fields(request.headers)
        asks = request.headers.get(b"access-control-request-method") is not None
        if asks and request.method == "OPTIONS" and len(fields) > 1:
            return _preflight(fields, request.headers)
        try:
            answer = self._handler(request)
        except HttpError as error:
            answer = error.response()
        return _Shared(answer, fields) if isinstance(answer, Reply) else _share(answer, fields)

    def admitting(self, admit: Admit) -> Admit:
        """What refuses requests by their heads alone, with the fields in its refusals."""

        def answer(head: Head) -> Response | None:
            refusal = admit(head)
            return None if refusal is None else _share(refusal, self._fields(head.headers))

        return answer

    def _fields(self, headers: Headers) -> Fields:
        origin = headers.get(b"origin")
        if origin is None or not (self._any or origin.lower() in self._origins):
            return [_VARY]
        return [_VARY, (_ALLOW_ORIGIN, origin)]


class _Shared(Reply):
    """The reply of another handler, on its way through."""

    __slots__ = ("_fields", "_reply")

    def __init__(self, reply: Reply, fields: Fields) -> None:
        super().__init__()
        self._reply = reply
        self._fields = fields
        response = reply.promise_to(self)
        if response is not None:
            self.replied(response)

    def replied(self, response: Response) -> None:
        self.send(_share(response, self._fields))

    def abandon(self) -> None:
        self._reply.forsake()


def _share(response: Response, fields: Fields) -> Response:
    """The response with the fields, unless a script has answered for itself who may read it."""
    if all(name != _ALLOW_ORIGIN for name, _ in response.headers):
        response.headers = [*response.headers, *fields]
    return response


def _preflight(fields: Fields, headers: Headers) -> Response:
    allowed = [*fields, (b"access-control-allow-methods", _METHODS)]
    asked = headers.get(b"access-control-request-headers")
    if asked is not None:
        names = sorted(name.strip() for name in asked.split(b","))
        allowed.append((b"access-control-allow-headers", b", ".join(names)))
    return Response(200, b"", allowed)
