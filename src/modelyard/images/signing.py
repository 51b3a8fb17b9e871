"""Signs images and checks their signatures, with ed25519 keys in PEM files.

`control.signing` gives a workspace its key; whoever starts an image asks `TrustedKeys` first: the
agent, and the builder for checks and profiles.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from modelyard.domain.cause import Cause, CauseCode
from modelyard.domain.signature import PublicKey, Signature, statement
from modelyard.domain.values import digest_of
from modelyard.errors import IntegrityError, InvalidRequest
from modelyard.files import replace_file

_LONGEST_PEM = 4096
_REBUILD = "Build the image again with --upgrade; what it was built from may be used as it is."
_RESTORE = (
    "Its manifest or its signature was changed after it was built: build it again with --upgrade, "
    "or restore the server's database."
)
_TRUST = (
    "If you trust who signed it, put the public key (`modelyard image key` prints it there) as a "
    ".pem file into the folder `trusted` of this home; the next attempt finds it."
)


class SigningKey:
    """A private key. It leaves the process only as a file that its owner alone can read."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = _public(key.public_key())

    @classmethod
    def generate(cls) -> SigningKey:
        """A new key."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path) -> SigningKey | None:
        """The key in a file, or None when there is no file.

        Raises:
            IntegrityError: The file holds something else.
        """
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            raise IntegrityError(
                f"`{path}` is not a private ed25519 key in PEM",
                hint="restore it from a backup, or move it away to get a new one",
            )
        return cls(key)

    def save(self, path: Path) -> None:
        """Write the key, readable by its owner only; the file appears whole or not at all."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        content = self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        replace_file(path, content)

    def sign(self, image: str, sbom: str | None = None) -> Signature:
        """Vouch for the image of this digest, and for the SBOM of that one."""
        value = self._key.sign(statement(image, self.public.id, sbom))
        return Signature(key=self.public.id, sbom=sbom, value=base64.b64encode(value).decode())


class TrustedKeys:
    """The public keys in a folder: every `.pem` file is trusted. Read at each check."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, key: PublicKey) -> None:
        """Trust a key from now on."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / f"{key.id.removeprefix('sha256:')}.pem"
        if not path.exists():
            replace_file(path, key.pem, mode=0o644)

    def knows(self, key: str) -> bool:
        """Whether the key with this id is trusted."""
        return self._find(key) is not None

    def why_refused(self, image: str, signature: Signature | None) -> Cause | None:
        """Why an image of this digest must not be started, or None when a trusted key signed it."""
        if signature is None:
            return _refusal(image, "has no signature", _REBUILD)
        key = self._find(signature.key)
        if key is None:
            evidence = (f"signed by: {signature.key}", f"trusted keys: {self._listed()}")
            return _refusal(image, "is signed by a key that is not trusted here", _TRUST, *evidence)
        if not is_valid(image, signature, key):
            seen = f"signed by: {signature.key}"
            return _refusal(image, "is not what its signature was made for", _RESTORE, seen)
        return None

    def _find(self, wanted: str) -> PublicKey | None:
        return next((key for key in self._keys() if key.id == wanted), None)

    def _keys(self) -> list[PublicKey]:
        found = []
        for path in sorted(self._folder.glob("*.pem")):
            try:
                with path.open("rb") as file:
                    found.append(parse_public_key(file.read(_LONGEST_PEM)))
            except (InvalidRequest, OSError):
                continue  # what is no key trusts nobody
        return found

    def _listed(self) -> str:
        return ", ".join(key.id for key in self._keys()) or f"none in {self._folder}"


def parse_public_key(pem: bytes) -> PublicKey:
    """The key in the content of a PEM file.

    Raises:
        InvalidRequest: It is not a public ed25519 key.
    """
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise InvalidRequest(
            "this is not a public ed25519 key in PEM",
            hint="give the file that `modelyard image key` prints",
        )
    return _public(key)


def is_valid(image: str, signature: Signature, key: PublicKey) -> bool:
    """Whether this key signed the image of this digest."""
    public = serialization.load_pem_public_key(key.pem.encode())
    assert isinstance(public, Ed25519PublicKey)
    try:
        value = base64.b64decode(signature.value, validate=True)
        public.verify(value, statement(image, key.id, signature.sbom))
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return signature.key == key.id


def _public(key: Ed25519PublicKey) -> PublicKey:
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    pem = key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return PublicKey(id=digest_of(raw), pem=pem.decode())


def _refusal(image: str, seen: str, fix: str, *evidence: str) -> Cause:
    return Cause(
        code=CauseCode.SIGNATURE_INVALID,
        message=f"The image {seen}, so it is not started.",
        evidence=(f"image: {image}", *evidence),
        fix=fix,
    )
