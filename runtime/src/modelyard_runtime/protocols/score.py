"""`/score`: the body is the script's data, the answer what it returns."""

from __future__ import annotations

from typing import Any

from modelyard_runtime.config import Config
from modelyard_runtime.entry import Entry
from modelyard_runtime.http.server import Request, Response
from modelyard_runtime.protocols.base import Page, Protocol, Surface, Unready
from modelyard_runtime.signature import Arguments, Signature

_ALLOWED = b"GET, HEAD, OPTIONS, POST"


class ScoreProtocol(Protocol):
    """Everything is up to the signature."""

    name = "score"
    streams = True
    reads_bodies = True

    def __init__(self, signature: Signature) -> None:
        self._signature = signature

    def decode(self, request: Request) -> Arguments:
        """Arguments from a body, or from the query of a `GET`."""
        return self._signature.from_request(request)

    def encode(self, result: Any, request: Request) -> Response:
        """What the signature makes of a result."""
        return self._signature.to_response(result)


def routes(entry: Entry, config: Config, unready: Unready) -> Surface:
    """The paths where a replica answers this protocol."""
    score = ScoreProtocol(entry.signature)
    answers: dict[str, Protocol | Page] = {"POST": score, "GET": score, "HEAD": score}
    answers["OPTIONS"] = score if entry.signature.takes_options else _options
    return Surface({"/score": answers})


def _options(request: Request) -> Response:
    return Response(200, b"", [(b"content-type", b"text/html"), (b"allow", _ALLOWED)])
