"""Renders an image of ours as an OCI image: base, our layers in gzip, and one that says what it is.

The same image gives the same bytes. What is uploaded and what is exported are this; Docker's older
archive and the Containerfile carry the same layers uncompressed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from modelyard.blobs.base import BlobStore, Stored
from modelyard.domain.image import Base, BaseLayer, Image, Layer, Manifest
from modelyard.domain.values import digest_of
from modelyard.errors import Conflict
from modelyard.images.launch import MANIFEST_PATH, container_command
from modelyard.images.layers import file_from_bytes, tar_chunks
from modelyard.images.oci import labels
from modelyard.images.oci.compression import compressed
from modelyard.images.oci.documents import (
    CONFIG,
    LAYER,
    LAYER_GZIP,
    MANIFEST,
    Descriptor,
    to_json,
    wire,
)

USER = "65532:65532"
"""Nobody in particular: no name and no rights in any base."""
PORT = "8080/tcp"

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

Gzip = Callable[[Layer], Stored]
"""The blob that holds a layer in gzip; made when it is asked for the first time."""


class Blobs(Protocol):
    """Where the bytes of layers are."""

    def open(self, digest: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The bytes of a blob: from an offset, that many."""


@dataclass(frozen=True, slots=True)
class Part:
    """One blob of a rendered image."""

    descriptor: Descriptor
    diff_id: str
    """Of a layer: the digest of its tar."""
    title: str
    """What it is, for people."""
    read: Callable[[int, int], Iterator[bytes]]
    """Its bytes: from an offset, that many."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """An OCI image, ready to be sent."""

    layers: tuple[Part, ...]
    config: Part
    manifest: Part

    @property
    def parts(self) -> tuple[Part, ...]:
        """Everything, each after what it refers to."""
        return (*self.layers, self.config, self.manifest)


def ready(image: Image) -> tuple[Manifest, Base]:
    """The manifest and the base of an image that can be moved.

    Raises:
        Conflict: It is not built, or stands on nothing.
    """
    manifest = image.built_manifest()
    if manifest.base is None:
        raise Conflict(
            f"image `{image.reference}` has no base, so that no container can be started from it",
            hint="build it again with a base",
        )
    return manifest, manifest.base


def render(image: Image, blobs: BlobStore, gzip: Gzip) -> Rendered:
    """The image as an OCI image with its own layers in gzip.

    Raises:
        Conflict: It is not built, or stands on nothing.
        NotFound: A layer is gone.
        InsufficientStorage: There is no room for the compressed layers.
    """
    manifest, base = ready(image)
    own = tuple(_compressed(layer, gzip(layer), blobs) for layer in manifest.layers)
    plain = last_tar(manifest)
    packed = b"".join(compressed([plain]))
    last = _in_memory(packed, LAYER_GZIP, "manifest.json", digest_of(plain))
    return _assembled(image, manifest, base, (*base_parts(base, blobs), *own, last))


def render_plain(image: Image, blobs: BlobStore) -> Rendered:
    """The image as `render` gives it, but with its own layers as they are. Raises the same."""
    manifest, base = ready(image)
    return _assembled(image, manifest, base, plain_layers(manifest, base, blobs))


def plain_layers(manifest: Manifest, base: Base, blobs: Blobs) -> tuple[Part, ...]:
    """All layers, our own as they are."""
    own = tuple(_plain(layer, blobs) for layer in manifest.layers)
    last = _in_memory(last_tar(manifest), LAYER, "manifest.json")
    return (*base_parts(base, blobs), *own, last)


def base_parts(base: Base, blobs: Blobs) -> tuple[Part, ...]:
    """The layers of a base, as they are."""
    return tuple(_of_base(layer, number, blobs) for number, layer in enumerate(base.layers))


def configuration(
    manifest: Manifest, base: Base, layers: tuple[Part, ...], own_labels: Mapping[str, str]
) -> Any:
    """The document that says how a container is started."""
    command, environment = container_command(base)
    variables = [f"{name}={text}" for name, text in sorted(environment.items()) if _is_safe(name)]
    return {
        "architecture": manifest.platform.architecture,
        "os": manifest.platform.os,
        "created": labels.EPOCH,
        "config": {
            "User": USER,
            "ExposedPorts": {PORT: {}},
            "Env": variables,
            "Entrypoint": command,
            "WorkingDir": "/",
            "StopSignal": "SIGTERM",
            "Labels": own_labels,
        },
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        "history": [
            {"created": labels.EPOCH, "created_by": f"modelyard: {layer.title}"} for layer in layers
        ],
    }


def config_part(
    manifest: Manifest, base: Base, layers: tuple[Part, ...], own_labels: Mapping[str, str]
) -> Part:
    """That document as a blob."""
    document = configuration(manifest, base, layers, own_labels)
    return _in_memory(to_json(document), CONFIG, "config")


def _assembled(image: Image, manifest: Manifest, base: Base, layers: tuple[Part, ...]) -> Rendered:
    config = config_part(manifest, base, layers, labels.all_labels(image, manifest))
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": wire(config.descriptor),
        "layers": [wire(layer.descriptor) for layer in layers],
        "annotations": labels.standard_labels(image, manifest),
    }
    return Rendered(layers, config, _in_memory(to_json(document), MANIFEST, "manifest"))


def last_tar(manifest: Manifest) -> bytes:
    """The layer that says what the image is."""
    return b"".join(tar_chunks([file_from_bytes(MANIFEST_PATH, manifest.to_bytes())]))


def _of_base(layer: BaseLayer, number: int, blobs: Blobs) -> Part:
    descriptor = Descriptor(media_type=layer.media_type, digest=layer.digest, size=layer.size)
    return _stored(descriptor, layer.diff_id, f"base {number}", blobs)


def _compressed(layer: Layer, stored: Stored, blobs: BlobStore) -> Part:
    descriptor = Descriptor(media_type=LAYER_GZIP, digest=stored.digest, size=stored.size)
    return _stored(descriptor, layer.digest, layer.kind, blobs)


def _plain(layer: Layer, blobs: Blobs) -> Part:
    descriptor = Descriptor(media_type=LAYER, digest=layer.digest, size=layer.size)
    return _stored(descriptor, layer.digest, layer.kind, blobs)


def _stored(descriptor: Descriptor, diff_id: str, title: str, blobs: Blobs) -> Part:
    return Part(
        descriptor,
        diff_id,
        title,
        lambda offset, length: blobs.open(descriptor.digest, offset, length),
    )


def _in_memory(body: bytes, media_type: str, title: str, diff_id: str | None = None) -> Part:
    digest = digest_of(body)
    descriptor = Descriptor(media_type=media_type, digest=digest, size=len(body))
    return Part(
        descriptor,
        diff_id or digest,
        title,
        lambda offset, length: iter((body[offset : offset + length],)),
    )


def _is_safe(name: str) -> bool:
    return _VARIABLE.fullmatch(name) is not None
