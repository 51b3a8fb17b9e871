"""What every protocol is: its requests become arguments of `run`, results its answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from modelyard_runtime.http.server import Request, Response, error_response
from modelyard_runtime.signature import Arguments

Page = Callable[[Request], Response]
"""Answers at once, without the script."""
Unready = Callable[[], str]
"""Why the replica is not ready, or an empty string."""


class Protocol(ABC):
    """One way of asking: decodes its requests by the entry's signature and encodes results.

    One object serves every request, from the event loop and from scoring threads at the same time.
    """

    streams: bool = False
    """What a generator yields is answered in parts; else the protocol encodes all of it as a list.
    """

    reads_bodies: bool = False
    """A `POST` without a query is read by the signature, from its body alone, and answered with
    JSON: `Batching` may then read several at once."""

    name: ClassVar[str]
    """What metrics call it: one of `metrics.PROTOCOLS`."""

    @abstractmethod
    def decode(self, request: Request) -> Arguments:
        """Arguments of `run`, but for `request_headers`.

        Raises:
            HttpError: With a message for the caller.
        """

    @abstractmethod
    def encode(self, result: Any, request: Request) -> Response:
        """The answer that a result makes.

        Raises:
            Exception: It cannot be sent. The reason is for the log, not for the caller.
        """

    def error(self, status: int, message: str) -> Response:
        """An error as this protocol tells it."""
        return error_response(status, message)


@dataclass(frozen=True, slots=True)
class Surface:
    """The paths of one protocol. `GET` answers `HEAD` too, where that is not listed."""

    paths: Mapping[str, Mapping[str, Protocol | Page]]
    """By path, then by method; a path is compared after its escapes were decoded."""
    below: str = ""
    """Paths that begin so are this protocol's: `error` tells of one that does not exist."""
    error: Callable[[int, str], Response] = error_response
    """How it tells of a path or method that it does not have."""
