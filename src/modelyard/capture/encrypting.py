"""Values of records that only the server can read: hosts encrypt them, and cannot read them again.

`enc:` and URL-safe base64 of 4 bytes that tell the server's key, 32 of a public key that a host has
made for a while, 12 of a nonce, and the value as JSON under AES-256-GCM. The key of that comes from
both key pairs by X25519 and HKDF-SHA256. JSON is padded, so that its length tells little.
"""

from __future__ import annotations

import binascii
import hashlib
import os
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from modelyard_runtime.capture.rules import Path, Rules, fits

ENCRYPTED = "enc:"
"""In front of an encrypted value."""
_PERIOD = 600.0
"""Seconds for which a host uses a key pair of its own."""
_PADDED = 32
_KEY_ID, _PUBLIC, _NONCE, _TAG = 4, 32, 12, 16
_HEAD = _KEY_ID + _PUBLIC
_SHORTEST = _HEAD + _NONCE + _PADDED + _TAG
_SHOWN = 24
CIPHERTEXT = rf"{ENCRYPTED}[A-Za-z0-9_-]{{{_SHORTEST * 4 // 3},}}=*"
"""Regular expression that the whole of an encrypted value fits, and next to nothing else."""


class Undecipherable(ValueError):
    """Text cannot be decrypted; the message says why."""


class Encryption:
    """Encrypts values for the server. Used in one thread.

    Args:
        public: The server's public key, 32 bytes.
    """

    def __init__(self, public: bytes) -> None:
        self._server = X25519PublicKey.from_public_bytes(public)
        self._public = public
        self._until = 0.0

    def encrypt(self, value: Any) -> str:
        """What is recorded in the place of a value of JSON."""
        now = time.monotonic()
        if now >= self._until:
            self._renew(now)
        document = orjson.dumps(value)
        padded = document.ljust(-(-len(document) // _PADDED) * _PADDED)
        nonce = os.urandom(_NONCE)
        sealed = self._cipher.encrypt(nonce, padded, None)
        return ENCRYPTED + urlsafe_b64encode(self._head + nonce + sealed).decode()

    def _renew(self, now: float) -> None:
        """Forget the key of before: who takes the host over cannot read what it wrote then."""
        own = X25519PrivateKey.generate()
        public = own.public_key().public_bytes_raw()
        self._cipher = _cipher(own.exchange(self._server), public, self._public)
        self._head = _key_id(self._public) + public
        self._until = now + _PERIOD


class Decryption:
    """Decrypts what was encrypted for the server.

    Args:
        private: The server's private key, 32 bytes.
    """

    def __init__(self, private: bytes) -> None:
        self._private = X25519PrivateKey.from_private_bytes(private)
        self._public = self._private.public_key().public_bytes_raw()
        self._key_id = _key_id(self._public)
        self._ciphers = lru_cache(maxsize=1024)(self._cipher_of)

    def decrypt(self, text: str) -> Any:
        """The value in the place of which `text` was recorded.

        Raises:
            Undecipherable: It is something else, was changed, or was encrypted for another key.
        """
        shown = f"`{text[:_SHOWN]}…`"
        content = _content(text)
        if content is None:
            raise Undecipherable(f"{shown} is no encrypted value")
        if content[:_KEY_ID] != self._key_id:
            raise Undecipherable(
                f"{shown} was encrypted for another key: only with the `master.key` of then can "
                "it be read"
            )
        nonce, sealed = content[_HEAD : _HEAD + _NONCE], content[_HEAD + _NONCE :]
        try:
            padded = self._ciphers(content[_KEY_ID:_HEAD]).decrypt(nonce, sealed, None)
            return orjson.loads(padded)
        except (InvalidTag, ValueError):  # whoever has the public key may have encrypted no JSON
            raise Undecipherable(f"{shown} was changed after it was encrypted") from None

    def decrypt_document(self, text: str) -> str:
        """JSON with every encrypted value in it decrypted; also one encrypted value itself.

        Raises:
            Undecipherable: As in `decrypt`.
        """
        try:
            document = orjson.loads(text)
        except ValueError:
            document = text
        return orjson.dumps(self._walk(document)).decode()

    def _walk(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._walk(item) for name, item in value.items()}
        if isinstance(value, list):
            return [self._walk(item) for item in value]
        if isinstance(value, str) and value.startswith(ENCRYPTED):
            return self.decrypt(value)
        return value

    def _cipher_of(self, public: bytes) -> AESGCM:
        shared = self._private.exchange(X25519PublicKey.from_public_bytes(public))
        return _cipher(shared, public, self._public)


class EncryptingRules(Rules):
    """Rules of which some have fields encrypted; of a host that has the server's public key.

    Args:
        drop: Fields that are left out.
        hashed: Fields whose values are replaced by their hashes.
        key: Of the hashes.
        encrypted: Fields whose values are replaced by encrypted ones.
        public: The server's public key, 32 bytes.
    """

    __slots__ = ("_encrypted", "_encryption")

    def __init__(
        self,
        drop: Sequence[str],
        hashed: Sequence[str],
        key: bytes,
        encrypted: Sequence[str],
        public: bytes,
    ) -> None:
        super().__init__(drop, hashed, key)
        self._encrypted = tuple(encrypted)
        self._encryption = Encryption(public)

    def verb(self, path: Path) -> str:
        """`drop`, `hash`, `encrypt`, or nothing; the first that a field is named for."""
        verb = super().verb(path)
        if not verb and any(fits(path, field) for field in self._encrypted):
            return "encrypt"
        return verb

    def stand_in(self, value: Any, verb: str) -> Any:
        """What is recorded in the place of a string, number or truth value."""
        if verb == "encrypt":
            return self._encryption.encrypt(value)
        return super().stand_in(value, verb)


def public_key(private: bytes) -> bytes:
    """The public key that belongs to a private one; 32 bytes each."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def _content(text: str) -> bytes | None:
    if not text.startswith(ENCRYPTED):
        return None
    try:
        content = urlsafe_b64decode(text.removeprefix(ENCRYPTED))
    except (binascii.Error, ValueError):
        return None
    return content if len(content) >= _SHORTEST else None


def _key_id(public: bytes) -> bytes:
    return hashlib.sha256(public).digest()[:_KEY_ID]


def _cipher(shared: bytes, host: bytes, server: bytes) -> AESGCM:
    return AESGCM(HKDF(SHA256(), 32, host + server, b"modelyard captured value").derive(shared))
