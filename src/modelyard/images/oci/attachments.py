"""What goes with an image to others: its signature and its SBOM, as OCI artifacts that refer to it.

`registry.referrers` and `layout` keep artifacts. What comes from outside is read strictly; whether
its signer is trusted is asked of `images.signing`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, NamedTuple

from pydantic import Field, TypeAdapter, ValidationError

from modelyard.blobs.base import BlobStore
from modelyard.domain.image import Image
from modelyard.domain.signature import STATEMENT_TYPE, Signature, statement
from modelyard.domain.values import DIGEST_PATTERN, digest_of
from modelyard.errors import IntegrityError, NotFound
from modelyard.images.oci.documents import EMPTY, MANIFEST, Descriptor, read_manifest, to_json, wire
from modelyard.images.oci.source import Source, document

SIGNATURE = "application/vnd.modelyard.image.signature.v1+json"
SBOM = "application/vnd.cyclonedx+json"
ATTACHMENTS = "io.modelyard.attachments"
"""Annotation of a layout's index that lists artifacts. They are no entries of the index itself:
podman and skopeo load a layout without being told which image only where there is just one."""
MAX_CONTENT = {SIGNATURE: 64 << 10, SBOM: 64 << 20}
"""Bytes of one attachment, by its type; others are left alone."""
_DESCRIPTORS = TypeAdapter(Annotated[list[Descriptor], Field(max_length=1000)])
_MOST = 32
"""Artifacts of one image that are looked at; anybody who may push can add some."""


class Attachment(NamedTuple):
    """One thing that is kept beside an image."""

    type: str
    """Its artifact type, which is the media type of its content as well."""
    content: bytes
    annotations: Mapping[str, str]


class Blob(NamedTuple):
    """Some bytes and the promise of them."""

    descriptor: Descriptor
    content: bytes


class Artifact(NamedTuple):
    """An attachment as an image registry keeps it."""

    manifest: Blob
    blobs: tuple[Blob, ...]
    """What the manifest refers to."""


def attachments(
    image: str, signature: Signature | None, sbom: bytes | None
) -> tuple[Attachment, ...]:
    """What is kept beside the image of this digest.

    Args:
        image: Digest of the image: of its own manifest, not of the OCI one.
        signature: Who vouches for it.
        sbom: The document that was signed with it.
    """
    kept = []
    if signature is not None:
        said = statement(image, signature.key, signature.sbom).decode("ascii")
        content = to_json({"statement": said, "signature": signature.value})
        kept.append(Attachment(SIGNATURE, content, {"io.modelyard.key": signature.key}))
    if sbom is not None:
        kept.append(Attachment(SBOM, sbom, {"io.modelyard.digest": image}))
    return tuple(kept)


def kept_beside(image: Image, blobs: BlobStore) -> tuple[Attachment, ...]:
    """What is kept beside a built image.

    Raises:
        NotFound: Its SBOM is gone.
    """
    assert image.digest is not None, "it is built"
    sbom = image.signature.sbom if image.signature else None
    content = None if sbom is None else b"".join(blobs.open(sbom))
    return attachments(image.digest, image.signature, content)


def artifact(attachment: Attachment, subject: Descriptor) -> Artifact:
    """An attachment as an artifact that refers to an OCI manifest."""
    content = blob_of(attachment.type, attachment.content)
    config = blob_of(EMPTY, b"{}")
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": attachment.type,
        "config": wire(config.descriptor),
        "layers": [wire(content.descriptor)],
        "subject": wire(_bare(subject)),
        "annotations": dict(attachment.annotations),
    }
    manifest = blob_of(MANIFEST, to_json(document))
    descriptor = manifest.descriptor.model_copy(
        update={"artifact_type": attachment.type, "annotations": dict(attachment.annotations)}
    )
    return Artifact(Blob(descriptor, manifest.content), (config, content))


def listed(artifacts: Iterable[Artifact]) -> str:
    """Artifacts, as `ATTACHMENTS` lists them."""
    return to_json([wire(one.manifest.descriptor) for one in artifacts]).decode("ascii")


def read_listed(text: str | None) -> list[Descriptor]:
    """What `ATTACHMENTS` lists.

    Raises:
        IntegrityError: It is no list of descriptors.
    """
    if text is None:
        return []
    try:
        return _DESCRIPTORS.validate_json(text)
    except (ValidationError, RecursionError) as error:
        raise IntegrityError("the list of attachments of a layout cannot be read") from error


def found_attachments(
    source: Source, listed: Iterable[Descriptor], subject: Descriptor
) -> list[Attachment]:
    """What of our types is beside an image, of what a source lists.

    What the source has not, or what is beside another image, is left out.

    Raises:
        IntegrityError: Something is not what it was promised to be.
    """
    known = [
        one for one in listed if one.media_type == MANIFEST and one.artifact_type in MAX_CONTENT
    ]
    return [kept for one in known[:_MOST] for kept in _found(source, one, subject)]


def _found(source: Source, listed: Descriptor, subject: Descriptor) -> Iterator[Attachment]:
    try:
        manifest = read_manifest(document(source, listed), listed.media_type)
        if manifest.subject is None or manifest.subject.digest != subject.digest:
            return
        kind = manifest.artifact_type or ""
        if kind not in MAX_CONTENT or len(manifest.layers) != 1:
            return
        (content,) = manifest.layers
        if content.size > MAX_CONTENT[kind]:
            raise IntegrityError(
                f"{source.name} has an attachment of {content.size} bytes beside it"
            )
        body = b"".join(source.open(content))
    except NotFound:
        return
    yield Attachment(kind, body, manifest.annotations or {})


def read_signature(content: bytes) -> tuple[str, Signature]:
    """The digest that a signature says it is for, and the signature; nothing is checked by a key.

    Raises:
        IntegrityError: It is no signature as they are written.
    """
    try:
        document = json.loads(content)
        said = json.loads(document["statement"])
        signature = Signature(key=said["key"], sbom=said.get("sbom"), value=document["signature"])
        written = statement(said["image"], signature.key, signature.sbom).decode("ascii")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise IntegrityError("a signature that came with the image cannot be read") from error
    fits = written == document["statement"] and said["type"] == STATEMENT_TYPE
    if not fits or re.fullmatch(DIGEST_PATTERN, str(said["image"])) is None:
        raise IntegrityError("a signature that came with the image says something else")
    return said["image"], signature


def blob_of(media_type: str, content: bytes) -> Blob:
    """Bytes at hand, with the promise of them."""
    digest = digest_of(content)
    return Blob(Descriptor(media_type=media_type, digest=digest, size=len(content)), content)


def _bare(descriptor: Descriptor) -> Descriptor:
    return Descriptor(
        media_type=descriptor.media_type, digest=descriptor.digest, size=descriptor.size
    )
