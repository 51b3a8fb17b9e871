"""Keys of services: how they are made. Pure functions; `modelyard_runtime.auth` compares them.

A key is `my_<key id>_<secret>`. The control plane derives the secret from its own master secret and
the key id, so a key can be shown again although it is stored nowhere; a gateway holds only hashes.
A regenerated key is simply one with a new id.
"""

from __future__ import annotations

import hmac
import secrets

from modelyard_runtime.auth import ServiceKey, parse_key, verify_key

__all__ = [
    "ServiceKey",
    "derive_secret",
    "make_key",
    "new_key_id",
    "parse_key",
    "verify_key",
]

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_LENGTH = 43  # base-62 digits that hold 256 bits


def new_key_id() -> str:
    """A random public part for a new key: 16 hexadecimal digits."""
    return secrets.token_hex(8)


def derive_secret(master: bytes, key_id: str) -> str:
    """The secret part of the key with this id: always the same, not to be guessed without `master`.

    `master` is at least 32 random bytes.
    """
    return _base62(hmac.digest(master, f"service-key:{key_id}".encode(), "sha256"))


def make_key(master: bytes, key_id: str) -> ServiceKey:
    """The whole key with this id."""
    return ServiceKey(key_id, derive_secret(master, key_id))


def settings_mark(master: bytes, settings: str) -> str:
    """Stands for settings, which may hold what nobody is to guess: the same for the same ones."""
    return hmac.digest(master, b"settings " + settings.encode(), "sha256").hex()


def capture_key(master: bytes) -> bytes:
    """The key under which captured values are hashed, in all services of the workspace."""
    return hmac.digest(master, b"capture", "sha256")


def decryption_key(master: bytes) -> bytes:
    """The private X25519 key of captured values; it never leaves the server."""
    return hmac.digest(master, b"capture-decryption", "sha256")


def _base62(digest: bytes) -> str:
    number = int.from_bytes(digest, "big")
    digits = []
    for _ in range(_SECRET_LENGTH):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
