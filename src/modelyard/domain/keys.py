"""Keys of services: how they are made, written, recognised and compared. Pure functions.

A key is `my_<key id>_<secret>`. The control plane derives the secret from its own master secret and
the key id, so a key can be shown again although it is stored nowhere; a gateway holds only hashes.
A regenerated key is simply one with a new id.
"""

from __future__ import annotations

import hmac
import re
import secrets
from typing import NamedTuple

_KEY = re.compile(r"my_([a-z0-9]{8,32})_([A-Za-z0-9]{32,64})")
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_LENGTH = 43  # base-62 digits that hold 256 bits
_NO_HASH = "0" * 64  # what an unknown key id is compared with, so that it costs the same


class ServiceKey(NamedTuple):
    """A key taken apart."""

    id: str
    """The public part, by which its hash is found."""
    secret: str

    def __repr__(self) -> str:
        return f"ServiceKey(id={self.id!r}, secret=...)"

    @property
    def text(self) -> str:
        """The key as a caller sends it. Keep it out of logs and messages."""
        return f"my_{self.id}_{self.secret}"

    @property
    def hash(self) -> str:
        """HMAC-SHA256 of the secret under the id, hexadecimal: all that a gateway needs."""
        return hmac.digest(self.id.encode(), self.secret.encode(), "sha256").hex()


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


def parse_key(text: str) -> ServiceKey | None:
    """Take a key apart; None when the text is not a key."""
    match = _KEY.fullmatch(text)
    return ServiceKey(match[1], match[2]) if match else None


def verify_key(key: ServiceKey, stored: str | None) -> bool:
    """Whether the key has the stored hash, in constant time.

    None stands for an id that nobody knows; it takes the same work and is never right.
    """
    matches = hmac.compare_digest(key.hash, stored or _NO_HASH)
    return matches and stored is not None


def _base62(digest: bytes) -> str:
    number = int.from_bytes(digest, "big")
    digits = []
    for _ in range(_SECRET_LENGTH):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
