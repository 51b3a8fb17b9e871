"""Tokens of services: signed, for one service, and over at a time that they name. Pure.

A token is a JSON Web Token (RFC 7519) with an Ed25519 signature (RFC 8037). It is signed under one
of the service's keys, and `kid` says which: a regenerated key takes its tokens along. The signing
key is derived from the control plane's master secret and stored nowhere; a gateway has the public
half only, and so can tell tokens and make none.
"""

from __future__ import annotations

import base64
import hmac
from datetime import datetime, timedelta
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from modelyard.domain.values import Value

ALGORITHM = "EdDSA"
ISSUER = "modelyard"
LEEWAY = 60.0
"""Seconds by which the clocks of those who make and check tokens may differ."""
_NOBODYS = Ed25519PrivateKey.generate().public_key()
_CLAIMS = ["aud", "exp", "iat", "iss", "sub"]


class ServiceToken(Value):
    """A token for one service. Treat it as a password."""

    token: str
    """What callers send: `Authorization: Bearer <token>`."""
    refresh_at: datetime
    """When it is time to ask for the next one: three quarters of the way."""
    expires_at: datetime


def public_key(master: bytes, key_id: str) -> str:
    """What recognises the tokens signed under the key with this id: base64, 32 bytes."""
    return base64.b64encode(_signing_key(master, key_id).public_key().public_bytes_raw()).decode()


def make_token(
    master: bytes, key_id: str, service: str, subject: str, now: datetime, lifetime: timedelta
) -> ServiceToken:
    """A token for `service`, signed under one of its keys.

    Args:
        master: The control plane's secret, at least 32 random bytes.
        key_id: Public part of the key.
        service: Name of the only service that takes it.
        subject: Who asked for it.
        now: The time.
        lifetime: How long it is good for.
    """
    expires_at = now + lifetime
    claims = {
        "iss": ISSUER,
        "aud": service,
        "sub": subject,
        "iat": now,
        "exp": expires_at,
        "jti": uuid4().hex,
    }
    headers = {"kid": key_id}
    text = jwt.encode(claims, _signing_key(master, key_id), ALGORITHM, headers)
    return ServiceToken(token=text, refresh_at=now + lifetime * 0.75, expires_at=expires_at)


class TokenCheck:
    """Recognises the tokens of one service.

    Args:
        service: Its name.
        keys: Public keys, as `public_key` gives them, by the ids of the service's keys.
    """

    def __init__(self, service: str, keys: dict[str, str]) -> None:
        self._service = service
        self._keys = {key_id: _read(key) for key_id, key in keys.items()}

    def good_until(self, token: str) -> float:
        """Seconds since 1970 until which it is to be taken; 0 if it is not."""
        try:
            # One whose key nobody knows takes the same work, so that ids cannot be tried out.
            key = self._keys.get(jwt.get_unverified_header(token)["kid"], _NOBODYS)
            claims = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                audience=self._service,
                issuer=ISSUER,
                leeway=LEEWAY,
                options={"require": _CLAIMS},
            )
        except (jwt.InvalidTokenError, LookupError, TypeError):
            return 0.0
        return float(claims["exp"]) + LEEWAY


def _signing_key(master: bytes, key_id: str) -> Ed25519PrivateKey:
    seed = hmac.digest(master, f"service-token:{key_id}".encode(), "sha256")
    return Ed25519PrivateKey.from_private_bytes(seed)


def _read(key: str) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(base64.b64decode(key))
