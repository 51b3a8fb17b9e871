"""Who may use a service: those with a key, a token or a certificate that it takes, or everybody."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from modelyard.agent.gateway.clients import Identity
from modelyard.agent.gateway.config import ServiceRoute
from modelyard.domain.clients import allowing
from modelyard.domain.tokens import TokenCheck
from modelyard_runtime.auth import NO_KEY, key_in, verify_key

_MOST_REMEMBERED = 256
"""Spellings of right `Authorization` fields; what was right once is found faster."""
_LONGEST_TOKEN = 2048
_LONGEST_SHOWN = 500
_NOT = 0.0


@dataclass(slots=True)
class Refusals:
    """Requests to one service that nobody was let in with."""

    count: int = 0
    last_at: float = 0.0
    """Seconds since 1970."""
    key_id: str | None = None
    """Public part of the key that came last; None when there was none or it is no key."""
    client: str | None = None
    """A name in the certificate that came last; None when there was none that is good."""


class Admission:
    """The door of one service, as its route says.

    Args:
        route: Of the service.
        refusals: Counts those who are turned away.
    """

    def __init__(self, route: ServiceRoute, refusals: Refusals) -> None:
        self._refusals = refusals
        self._remembered: dict[bytes, float] = {}
        self._hashes = {key.id: key.hash for key in route.keys}
        tokens = {key.id: key.token_key for key in route.keys if key.token_key}
        self._tokens = TokenCheck(route.name, tokens)
        self.by_certificate = route.auth == "cert"
        """Whoever passes `good_until` is asked for a certificate as well, by `refuses`."""
        self._allows = allowing(route.clients)
        self._check: Callable[[bytes], float] = {
            "none": lambda authorization: inf,
            "cert": lambda authorization: inf,
            "token": self._by_token,
        }.get(route.auth, self._by_key)

    def good_until(self, authorization: bytes | None) -> float:
        """Seconds since 1970 until which a caller with this field is let in; 0: not at all."""
        field = authorization or b""
        known = self._remembered.get(field, _NOT)
        if known > time.time():
            return known
        until = self._check(field)
        if until > time.time():
            self._remember(field, until)
            return until
        self._refuse(field)
        return _NOT

    def refuses(self, identity: Identity) -> str:
        """What a caller with this certificate lacks; empty when nothing."""
        if not identity.problem and any(map(self._allows, identity.names)):
            return ""
        self._refusals.count += 1
        self._refusals.last_at = time.time()
        self._refusals.client = identity.names[0] if identity.names else None
        if identity.problem:
            return f"a client certificate that is taken here: {identity.problem}"
        shown = ", ".join(identity.names)[:_LONGEST_SHOWN] or "no alternative name"
        return f"a client certificate with one of the names it lists in `clients`, not {shown}"

    def _by_key(self, authorization: bytes) -> float:
        key = key_in(authorization)
        known = self._hashes.get(key.id) if key is not None else None
        return inf if verify_key(key or NO_KEY, known) else _NOT

    def _by_token(self, authorization: bytes) -> float:
        scheme, _, token = authorization.partition(b" ")
        if scheme.lower() != b"bearer" or len(token) > _LONGEST_TOKEN:
            return _NOT
        return self._tokens.good_until(token.strip(b" ").decode("latin-1"))

    def _remember(self, authorization: bytes, until: float) -> None:
        if len(self._remembered) >= _MOST_REMEMBERED:
            self._remembered.clear()
        self._remembered[authorization] = until

    def _refuse(self, authorization: bytes) -> None:
        key = key_in(authorization)
        self._refusals.count += 1
        self._refusals.last_at = time.time()
        self._refusals.key_id = key.id if key is not None else None
