"""Who calls a service: its address and a key, known from the call before."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from modelyard.domain.service import Service
from modelyard.errors import ScoringFailed, Unavailable

Caller = tuple[Service, str | None]
"""A service, and what it is shown as `Authorization: Bearer …`."""

T = TypeVar("T")

_STALE = (401, 403, 404)
"""Statuses that say that the key or the address known from before is not right any more."""


class Callers:
    """Those of services that were called.

    Args:
        ask: Asks the server for one, by the name of the service.
    """

    def __init__(self, ask: Callable[[str], Caller]) -> None:
        self._ask = ask
        self._known: dict[str, Caller] = {}

    def call(self, name: str, send: Callable[[Service, str | None], T]) -> T:
        """Send as somebody who may; once more, where address or key are new."""
        known = self._known.get(name)
        if known is None:
            known = self._known[name] = self._ask(name)
            return send(*known)
        try:
            return send(*known)
        except (ScoringFailed, Unavailable) as error:
            if error.details.get("status", 401) not in _STALE:
                raise
            fresh = self._known[name] = self._ask(name)
            if (fresh[0].scoring_uri, fresh[1]) == (known[0].scoring_uri, known[1]):
                raise
        return send(*fresh)

    def forget(self, name: str) -> None:
        """The service is gone: another one of this name has other keys."""
        self._known.pop(name, None)
