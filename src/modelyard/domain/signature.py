"""Who vouches for an image: what is signed, and by which key. `images.signing` signs and checks."""

from __future__ import annotations

import json

from modelyard.domain.values import Digest, Value

STATEMENT_TYPE = "io.modelyard.image.signature.v1"


class PublicKey(Value):
    """What checks the signatures of a workspace. Not secret."""

    id: Digest
    """`sha256:…` of the 32 bytes of the ed25519 key."""
    pem: str
    """The key as a PEM file has it (SubjectPublicKeyInfo)."""


class Signature(Value):
    """An ed25519 signature over the `statement` of an image, kept beside it."""

    key: Digest
    """Id of the public key that checks it."""
    sbom: Digest | None = None
    """Digest of the image's SBOM, which is signed with it; null: it has none."""
    value: str
    """The 64 bytes in base64."""


def statement(image: str, key: str, sbom: str | None = None) -> bytes:
    """The very bytes that are signed: JSON with sorted keys, no spaces, in ASCII.

    Args:
        image: Digest of the image, which is over its whole manifest.
        key: Id of the public key.
        sbom: Digest of the image's SBOM; left out where there is none.
    """
    document = {"type": STATEMENT_TYPE, "image": image, "key": key}
    if sbom is not None:
        document["sbom"] = sbom
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode("ascii")
