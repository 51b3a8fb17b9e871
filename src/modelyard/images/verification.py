"""Looks at everything that is stored of an image, and says what is not as it was signed.

Called by `control.images` on demand: it reads every byte. Nothing is unpacked or started.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from modelyard.blobs.base import BlobStore
from modelyard.domain.image import Image, Manifest
from modelyard.domain.verification import VerifiedPart
from modelyard.errors import NotFound
from modelyard.images.signing import TrustedKeys


def verify(
    image: Image, manifest: Manifest, blobs: BlobStore, trusted: TrustedKeys
) -> Iterator[VerifiedPart]:
    """Every part with what is wrong with it; each when it was looked at.

    Args:
        image: As it is remembered.
        manifest: Its own.
        blobs: Where its bytes are.
        trusted: Whose signatures count.
    """
    yield _manifest(image, manifest)
    yield _signature(image, manifest, trusted)
    if image.signature is not None and image.signature.sbom is not None:
        yield _blob("sbom", image.signature.sbom, None, blobs)
    for layer in manifest.layers:
        yield _blob(f"layer {layer.kind}", layer.digest, layer.size, blobs)
    for number, base in enumerate(manifest.base.layers if manifest.base else ()):
        yield _blob(f"base layer {number}", base.digest, base.size, blobs)


def _manifest(image: Image, manifest: Manifest) -> VerifiedPart:
    digest = image.digest or manifest.digest
    changed = None if digest == manifest.digest else f"it hashes to {manifest.digest}"
    return VerifiedPart(part="manifest", digest=digest, problem=changed)


def _signature(image: Image, manifest: Manifest, trusted: TrustedKeys) -> VerifiedPart:
    refusal = trusted.why_refused(manifest.digest, image.signature)
    problem = None
    if refusal is not None:
        problem = "; ".join((refusal.message.rstrip("."), *refusal.evidence[1:]))
    return VerifiedPart(part="signature", digest=manifest.digest, problem=problem)


def _blob(part: str, digest: str, size: int | None, blobs: BlobStore) -> VerifiedPart:
    return VerifiedPart(part=part, digest=digest, problem=_problem(digest, size, blobs))


def _problem(digest: str, size: int | None, blobs: BlobStore) -> str | None:
    hashed = hashlib.sha256()
    length = 0
    try:
        for chunk in blobs.open(digest):
            hashed.update(chunk)
            length += len(chunk)
    except NotFound:
        return "it is not stored"
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    if size is not None and length != size:
        return f"it has {length} bytes instead of {size}"
    found = f"sha256:{hashed.hexdigest()}"
    return None if found == digest else f"it hashes to {found}"
