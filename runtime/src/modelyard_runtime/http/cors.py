"""Cross-origin requests: which web pages' scripts may read the answers of a replica or a gateway.

In a replica it is switched on by the environment variable `MODELYARD_CORS_ORIGINS`, or by the
original's name for it: a worker puts it around its routes, so that every answer carries the fields,
refusals too. A gateway asks the `Origins` of each service.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from modelyard_runtime.http.messages import (
    Head,
    Headers,
    HttpError,
    Peer,
    Reply,
    Request,
    Response,
)
from modelyard_runtime.http.server import Handler

VARIABLES = ("MODELYARD_CORS_ORIGINS", "AML_CORS_ORIGINS")
"""A comma-separated list of origins, such as `https://app.example`, or `*` for any."""

Fields = list[tuple[bytes, bytes]]
Admit = Callable[[Head, Peer | None], Response | None]
"""Refuses a request by its head, or does not."""

_METHODS = b"GET, POST"
_ALLOW_ORIGIN = b"access-control-allow-origin"
_VARY = (b"vary", b"Origin")


def across_origins(handler: Handler, environment: Mapping[str, str]) -> Handler:
    """A handler that also does what the environment says of origins; itself if that is nothing."""
    stated = (environment.get(name, "").strip() for name in VARIABLES)
    origins = next(filter(None, stated), "")
    return Cors(origins, handler) if origins else handler


class Origins:
    """Which pages may read the answers of something.

    Args:
        origins: Such as `https://app.example`; `*` is any.
    """

    def __init__(self, origins: Iterable[str]) -> None:
        listed = (origin.strip().lower().encode() for origin in origins)
        self._origins = frozenset(filter(None, listed))
        self._any = b"*" in self._origins

    def preflight(self, head: Head) -> Response | None:
        """The answer to a browser that asks first, on behalf of a page that may; else None."""
        asks = head.headers.get(b"access-control-request-method") is not None
        fields = self.fields(head.headers) if asks and head.method == "OPTIONS" else []
        return _preflight(fields, head.headers) if len(fields) > 1 else None

    def share(self, answer: Response | Reply, headers: Headers) -> Response | Reply:
        """An answer that the page which asked, with these headers, may read if it is listed."""
        fields = self.fields(headers)
        return _Shared(answer, fields) if isinstance(answer, Reply) else _share(answer, fields)

    def fields(self, headers: Headers) -> Fields:
        """What an answer says of it."""
        origin = headers.get(b"origin")
        if origin is None or not (self._any or origin.lower() in self._origins):
            return [_VARY]
        return [_VARY, (_ALLOW_ORIGIN, origin)]


class Cors:
    """A handler around another one.

    Args:
        origins: Which pages may read answers, separated by commas.
        handler: Answers.
    """

    def __init__(self, origins: str, handler: Handler) -> None:
        self._origins = Origins(origins.split(","))
        self._handler = handler

    def __call__(self, request: Request) -> Response | Reply:
        """Answer a browser that asks first; let the handler answer all else."""
        allowed = self._origins.preflight(request.head)
        if allowed is not None:
            return allowed
        try:
            answer = self._handler(request)
        except HttpError as error:
            answer = error.response()
        return self._origins.share(answer, request.headers)

    def admitting(self, admit: Admit) -> Admit:
        """What refuses requests by their heads alone, with the fields in its refusals."""

        def answer(head: Head, peer: Peer | None) -> Response | None:
            refusal = admit(head, peer)
            return None if refusal is None else _share(refusal, self._origins.fields(head.headers))

        return answer


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
    told = any(name == _ALLOW_ORIGIN for name, _ in response.headers)
    if not told and _ALLOW_ORIGIN not in response.encoded.lower():
        response.headers = [*response.headers, *fields]
    return response


def _preflight(fields: Fields, headers: Headers) -> Response:
    allowed = [*fields, (b"access-control-allow-methods", _METHODS)]
    asked = headers.get(b"access-control-request-headers")
    if asked is not None:
        names = sorted(name.strip() for name in asked.split(b","))
        allowed.append((b"access-control-allow-headers", b", ".join(names)))
    return Response(200, b"", allowed)
