"""The forms in which an image leaves: one tar each, streamed and always the same.

`oci` is a layout in a tar; `docker` what `docker load` of any age takes; `containerfile` a folder
from which docker or podman builds the same thing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from modelyard.blobs.base import BlobStore
from modelyard.domain.image import Base, Image, Manifest
from modelyard.images import tar
from modelyard.images.layers import LayerFile, file_from_bytes, tar_chunks
from modelyard.images.oci import labels
from modelyard.images.oci.attachments import ATTACHMENTS, artifact, kept_beside, listed
from modelyard.images.oci.documents import GZIP_LAYERS, INDEX, to_json, wire
from modelyard.images.oci.layout import INDEX_FILE, MARK, VERSION, blob_path
from modelyard.images.oci.rendering import (
    PORT,
    USER,
    Blobs,
    Gzip,
    Part,
    config_part,
    configuration,
    plain_layers,
    ready,
    render,
    render_plain,
)

_REF_NAME = "org.opencontainers.image.ref.name"


class Archive(NamedTuple):
    """A tar that is about to be written."""

    size: int
    """Bytes."""
    chunks: Iterator[bytes]


def oci_archive(image: Image, blobs: BlobStore, gzip: Gzip) -> Archive:
    """An OCI layout, with what is kept beside the image. Raises as `rendering.render` does."""
    rendered = render(image, blobs, gzip)
    subject = rendered.manifest.descriptor
    beside = [artifact(one, subject) for one in kept_beside(image, blobs)]
    entry = {
        **wire(subject),
        "platform": _platform(image),
        "annotations": {_REF_NAME: image.reference},
    }
    index = {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [entry],
        "annotations": {ATTACHMENTS: listed(beside)},
    }
    files = {
        path: _file(path, part)
        for part in rendered.parts
        for path in [blob_path(part.descriptor.digest)]
    }
    for one in beside:
        for blob in (one.manifest, *one.blobs):
            path = blob_path(blob.descriptor.digest)
            files[path] = file_from_bytes(path, blob.content)
    return _archive(
        [
            file_from_bytes(MARK, to_json({"imageLayoutVersion": VERSION})),
            file_from_bytes(INDEX_FILE, to_json(index)),
            *files.values(),
        ]
    )


def docker_archive(image: Image, blobs: BlobStore) -> Archive:
    """Docker's own archive of images, which every version of it loads. Raises as `render`."""
    rendered = render_plain(image, blobs)
    return _docker(image.reference, rendered.config, rendered.layers)


def engine_archive(manifest: Manifest, base: Base, tag: str, blobs: Blobs) -> Archive:
    """The same of an image of which a host knows no more than its manifest.

    Args:
        manifest: The image.
        base: What it stands on.
        tag: What the engine that loads it is to call it.
        blobs: Where its layers are.
    """
    layers = plain_layers(manifest, base, blobs)
    config = config_part(manifest, base, layers, {labels.DIGEST: manifest.digest})
    return _docker(tag, config, layers)


def _docker(tag: str, config: Part, layers: tuple[Part, ...]) -> Archive:
    place = f"{_hex(config.descriptor.digest)}.json"
    names = {layer.diff_id: f"{_hex(layer.diff_id)}.tar" for layer in layers}
    entry = {
        "Config": place,
        "RepoTags": [tag],
        "Layers": [names[layer.diff_id] for layer in layers],
    }
    unique = {names[layer.diff_id]: layer for layer in layers}
    return _archive(
        [
            file_from_bytes("manifest.json", to_json([entry])),
            _file(place, config),
            *(_file(name, layer) for name, layer in unique.items()),
        ]
    )


def containerfile_archive(image: Image, blobs: BlobStore) -> Archive:
    """A folder with a Containerfile and the layers that it adds. Raises as `render`."""
    layers = render_plain(image, blobs).layers
    names = [f"layers/{number:02}.{_ending(layer)}" for number, layer in enumerate(layers)]
    text = _containerfile(image, names, layers)
    return _archive(
        [
            file_from_bytes("Containerfile", text.encode()),
            *(_file(name, layer) for name, layer in zip(names, layers, strict=True)),
        ]
    )


def _containerfile(image: Image, names: list[str], layers: tuple[Part, ...]) -> str:
    manifest, base = ready(image)
    config = configuration(manifest, base, layers, {})["config"]
    variables = dict(text.split("=", 1) for text in config["Env"])
    plain = labels.standard_labels(image, manifest)
    plain[labels.DIGEST] = manifest.digest
    lines = [
        "# Build with `podman build -t NAME .` or `docker build -f Containerfile -t NAME .`",
        "FROM scratch",
        *(f"ADD {json.dumps([name, '/'])}" for name in names),
        *(f"ENV {name}={_quoted(text)}" for name, text in variables.items()),
        *(f"LABEL {_quoted(key)}={_quoted(text)}" for key, text in plain.items()),
        f"USER {USER}",
        f"EXPOSE {PORT}",
        "STOPSIGNAL SIGTERM",
        'WORKDIR "/"',
        f"ENTRYPOINT {json.dumps(config['Entrypoint'])}",
    ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A value that no builder reads anything into: no line ends, no variables, no escapes."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    return '"' + "".join(f"\\{c}" if c in '\\"$`' else c for c in plain) + '"'


def _ending(layer: Part) -> str:
    return "tar.gz" if layer.descriptor.media_type in GZIP_LAYERS else "tar"


def _platform(image: Image) -> dict[str, str]:
    platform = ready(image)[0].platform
    return {"os": platform.os, "architecture": platform.architecture}


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")


def _file(path: str, part: Part) -> LayerFile:
    size = part.descriptor.size
    return LayerFile(path, size, lambda: part.read(0, size))


def _archive(files: list[LayerFile]) -> Archive:
    return Archive(_length(files), tar_chunks(files))


def _length(files: Iterable[LayerFile]) -> int:
    """Bytes of the tar of these files, without reading them."""
    folders = set()
    length = len(tar.END)
    for file in files:
        parts = file.path.split("/")[:-1]
        folders |= {"/".join(parts[:depth]) for depth in range(1, len(parts) + 1)}
        length += len(tar.header(tar.Member(file.path, file.size)))
        length += file.size + len(tar.padding(file.size))
    return length + sum(len(tar.header(tar.Member(path, folder=True))) for path in folders)
