"""Where an OCI image is read from, and that what is read is what was promised.

A registry, a layout in a folder and an archive are sources; `control` and whoever wants a base
image read all of them through this.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from modelyard.domain.image import Platform
from modelyard.errors import IntegrityError, InvalidRequest
from modelyard.images.oci.documents import (
    INDEXES,
    LAYERS,
    MANIFESTS,
    MAX_DOCUMENT,
    Descriptor,
    OciConfig,
    OciManifest,
    choose,
    read_config,
    read_index,
    read_manifest,
)

_DEEPEST = 3


class Source(Protocol):
    """Something that holds the blobs of images."""

    @property
    def name(self) -> str:
        """What it is called in messages."""
        ...

    def open(self, descriptor: Descriptor) -> Iterator[bytes]:
        """The bytes of a blob, in pieces; at the end it is sure that they are the promised ones.

        Raises:
            NotFound: It has no such blob.
            IntegrityError: Other bytes, more or fewer came.
        """
        ...


@dataclass(frozen=True, slots=True)
class Found:
    """One image for one platform, as its documents say; no layer has been read."""

    descriptor: Descriptor
    """Of its manifest."""
    manifest: OciManifest
    config: OciConfig

    @property
    def platform(self) -> Platform:
        """What it runs on."""
        return Platform(os=self.config.os, architecture=self.config.architecture)


def find(source: Source, root: Descriptor, platform: Platform | None) -> Found:
    """The image for a platform, below an index or a manifest; for None, the only one.

    Raises:
        InvalidRequest: There is none, or its layers are of a kind that is not read here.
        NotFound: A document is missing.
        IntegrityError: A document is not what was promised.
    """
    for _ in range(_DEEPEST):
        if root.media_type not in INDEXES:
            break
        index = read_index(document(source, root), root.media_type)
        root = choose(index, platform, source.name)
    if root.media_type not in MANIFESTS:
        raise InvalidRequest(
            f"{source.name} is no image that can be read here: it is {root.media_type}",
            hint="images by OCI's specification and Docker's version 2 can be",
        )
    manifest = read_manifest(document(source, root), root.media_type)
    config = read_config(document(source, manifest.config))
    found = Found(root, manifest, config)
    _check(found, platform, source.name)
    return found


def document(source: Source, descriptor: Descriptor) -> bytes:
    """A small blob, whole."""
    if descriptor.size > MAX_DOCUMENT:
        raise IntegrityError(
            f"{source.name} has a document of {descriptor.size} bytes; {MAX_DOCUMENT} is the limit"
        )
    return b"".join(source.open(descriptor))


def verified(chunks: Iterable[bytes], digest: str, size: int, where: str) -> Iterator[bytes]:
    """The same bytes, refused as soon as they are too many and at the end if they are others.

    Raises:
        IntegrityError: They have another length or digest.
    """
    hashed = hashlib.sha256()
    left = size
    for chunk in chunks:
        left -= len(chunk)
        if left < 0:
            break
        hashed.update(chunk)
        yield chunk
    if left:
        length = "more" if left < 0 else "fewer"
        raise IntegrityError(f"{where}: blob {digest} has {length} than its {size} bytes")
    if (arrived := f"sha256:{hashed.hexdigest()}") != digest:
        raise IntegrityError(
            f"{where}: blob {digest} arrived as {arrived}",
            hint="the bytes were changed on their way, or where they are kept",
        )


def _check(found: Found, platform: Platform | None, where: str) -> None:
    layers, diff_ids = found.manifest.layers, found.config.rootfs.diff_ids
    if len(layers) != len(diff_ids):
        raise IntegrityError(f"{where}: {len(layers)} layers, but {len(diff_ids)} digests of them")
    other = next((one.media_type for one in layers if one.media_type not in LAYERS), None)
    if other is not None:
        raise InvalidRequest(
            f"{where} has a layer of the type {other}, which is not read here",
            hint="plain tars and such in gzip are; convert the image, for instance with skopeo",
        )
    if platform is not None and found.platform != platform:
        raise InvalidRequest(
            f"{where} is for {found.platform}, not for {platform}",
            hint="name an image for that platform",
        )
