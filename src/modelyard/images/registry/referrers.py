"""Artifacts that refer to an image in a registry: putting them there, and finding them.

Registries of the present list them themselves. For others whoever pushes keeps the list, as an
index under a tag that is made from the image's digest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import httpx2

from modelyard.errors import IntegrityError, NotFound
from modelyard.images.oci.attachments import MAX_CONTENT, Artifact, Attachment, Blob, blob_of
from modelyard.images.oci.documents import (
    INDEX,
    MANIFEST,
    Descriptor,
    OciIndex,
    read_index,
    read_manifest,
    to_json,
)
from modelyard.images.oci.source import document
from modelyard.images.registry.client import Repository
from modelyard.images.registry.uploads import push_blob, push_manifest

_MOST = 32
"""Artifacts of one image that are looked at; anybody who may push can add some."""


def push_artifacts(
    repository: Repository, subject: Descriptor, artifacts: Sequence[Artifact]
) -> None:
    """Put artifacts beside an image that is there; those that are there already stay.

    Raises:
        ModelyardError: As for every push.
    """
    listed = True
    for one in artifacts:
        for blob in one.blobs:
            _push(repository, blob)
        manifest = one.manifest
        selector = manifest.descriptor.digest
        listed &= push_manifest(repository, manifest.descriptor, manifest.content, selector)
    if not listed:
        _list_under_tag(repository, subject, artifacts)


def pull_attachments(repository: Repository, subject: Descriptor) -> list[Attachment]:
    """What of our types is kept beside an image.

    Raises:
        IntegrityError: Something is not what it was promised to be.
        Unavailable: The registry fails again and again.
    """
    index = _listed(repository, subject) or _under_tag(repository, subject)
    known = [
        one
        for one in (index.manifests if index else ())
        if one.media_type == MANIFEST and one.artifact_type in MAX_CONTENT
    ]
    return [attachment for one in known[:_MOST] for attachment in _read(repository, one, subject)]


def _push(repository: Repository, blob: Blob) -> None:
    push_blob(
        repository,
        blob.descriptor,
        lambda offset, length: blob.content[offset : offset + length],
    )


def _tag(subject: Descriptor) -> str:
    return subject.digest.replace(":", "-")


def _list_under_tag(
    repository: Repository, subject: Descriptor, artifacts: Sequence[Artifact]
) -> None:
    before = _under_tag(repository, subject)
    kept = {one.digest: one for one in (before.manifests if before else ())}
    kept |= {one.manifest.descriptor.digest: one.manifest.descriptor for one in artifacts}
    entries = [one.model_dump(by_alias=True, exclude_none=True) for one in kept.values()]
    body = to_json({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})
    blob = blob_of(INDEX, body)
    push_manifest(repository, blob.descriptor, blob.content, _tag(subject))


def _listed(repository: Repository, subject: Descriptor) -> OciIndex | None:
    """What the registry lists, or None where it knows nothing of lists."""
    session = repository.session
    url = session.url(f"referrers/{subject.digest}")
    response: httpx2.Response = session.retrying(
        lambda: session.request("GET", url, headers={"Accept": INDEX}, accepted=(400, 404, 405))
    )
    kind = response.headers.get("content-type", "").partition(";")[0].strip()
    if not response.is_success or kind != INDEX:
        return None
    return read_index(response.content, INDEX)


def _under_tag(repository: Repository, subject: Descriptor) -> OciIndex | None:
    try:
        found, body = repository.manifest(_tag(subject))
    except NotFound:
        return None
    return read_index(body, INDEX) if found.media_type == INDEX else None


def _read(repository: Repository, listed: Descriptor, subject: Descriptor) -> Iterator[Attachment]:
    """The attachment, unless it is beside another image or not there any more."""
    try:
        manifest = read_manifest(document(repository, listed), listed.media_type)
        if manifest.subject is None or manifest.subject.digest != subject.digest:
            return
        kind = manifest.artifact_type or ""
        if kind not in MAX_CONTENT or len(manifest.layers) != 1:
            return
        (content,) = manifest.layers
        if content.size > MAX_CONTENT[kind]:
            raise IntegrityError(
                f"{repository.name} has an attachment of {content.size} bytes beside it"
            )
        body = b"".join(repository.open(content))
    except NotFound:
        return
    yield Attachment(kind, body, manifest.annotations or {})
