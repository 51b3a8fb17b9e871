"""Artifacts that refer to an image in a registry: putting them there, and finding them.

Registries of the present list them themselves. For others whoever pushes keeps the list, as an
index under a tag that is made from the image's digest.
"""

from __future__ import annotations

from collections.abc import Sequence

import httpx2

from modelyard.errors import NotFound
from modelyard.images.oci.attachments import Artifact, Attachment, Blob, blob_of, found_attachments
from modelyard.images.oci.documents import (
    INDEX,
    Descriptor,
    OciIndex,
    read_index,
    to_json,
    wire,
)
from modelyard.images.registry.client import Repository
from modelyard.images.registry.uploads import push_blob, push_manifest


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
    return found_attachments(repository, index.manifests if index else (), subject)


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
    entries = [wire(one) for one in kept.values()]
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
