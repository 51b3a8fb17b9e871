"""A small image of ours, with a base, for tests that need no Python inside."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from modelyard.blobs.base import Stored
from modelyard.blobs.local import LocalBlobs
from modelyard.domain.image import (
    Base,
    BaseLayer,
    CheckReport,
    Image,
    ImageState,
    Layer,
    LayerKind,
    Manifest,
    ModelMount,
    Platform,
)
from modelyard.images.layers import file_from_bytes, tar_chunks
from modelyard.images.oci.archive import ArchiveFiles
from modelyard.images.oci.compression import compressed
from modelyard.images.oci.documents import LAYER, LAYER_GZIP
from modelyard.images.oci.forms import Archive

CONTENT = {
    LayerKind.ENVIRONMENT: "opt/modelyard/environment/one_two-1.5.dist-info/METADATA",
    LayerKind.RUNTIME: "opt/modelyard/runtime/modelyard_runtime/__init__.py",
    LayerKind.CODE: "opt/modelyard/code/score.py",
    LayerKind.MODEL: "opt/modelyard/models/digits/3/w.json",
}


class Yard:
    """A blob store with one image in it."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.blobs = LocalBlobs(folder)
        self.compressions = 0
        layers = [self.layer(kind, {path: kind.encode() * 1000}) for kind, path in CONTENT.items()]
        self.base = Base(
            origin="image",
            digest=f"sha256:{'b' * 64}",
            python="/usr/bin/python3.11",
            layers=(self.base_layer(b"libc", gzip=True), self.base_layer(b"python", gzip=False)),
            environment={"PATH": "/usr/bin", "LANG": "de_DE.UTF-8"},
        )
        fields = {
            "platform": Platform(os="linux", architecture="amd64"),
            "python": "3.11",
            "script": "score.py",
            "models": (ModelMount(name="digits", version=3, path="digits/3"),),
            "lock": f"sha256:{'c' * 64}",
            "base": self.base,
            "layers": tuple(layers),
        }
        self.manifest = Manifest.model_validate({**fields, **changes})

    def image(self, **fields: Any) -> Image:
        report = CheckReport(
            workers=2,
            cold_start=0.1,
            memory=1,
            sample=[1, 2],
            openapi={"components": {"schemas": {"ServiceInput": {"type": "array"}}}},
            checked_at=datetime.now(UTC),
        )
        values: dict[str, Any] = {
            "id": uuid4(),
            "workspace": "default",
            "name": "digits",
            "version": 7,
            "state": ImageState.SUCCEEDED,
            "digest": self.manifest.digest,
            "manifest": self.manifest,
            "models": ("digits:3",),
            "requirements": (),
            "check": report,
            "operation": uuid4(),
            "created_at": datetime.now(UTC),
            "created_by": "owner",
            **fields,
        }
        return Image.model_construct(**values)

    def put(self, body: bytes) -> Stored:
        with self.blobs.writer() as writer:
            writer.write(body)
            return writer.commit()

    def layer(self, kind: LayerKind, files: dict[str, bytes]) -> Layer:
        stored = self.put(tar_of(files))
        return Layer(kind=kind, digest=stored.digest, size=stored.size)

    def base_layer(self, content: bytes, *, gzip: bool) -> BaseLayer:
        tar = tar_of({f"usr/lib/{content.decode()}": content * 1000})
        stored = self.put(b"".join(compressed([tar])) if gzip else tar)
        return BaseLayer(
            digest=stored.digest,
            size=stored.size,
            media_type=LAYER_GZIP if gzip else LAYER,
            diff_id=digest_of(tar),
        )

    def gzip(self, layer: Layer) -> Stored:
        self.compressions += 1
        return self.put(b"".join(compressed(self.blobs.open(layer.digest))))


def tar_of(files: dict[str, bytes]) -> bytes:
    return b"".join(tar_chunks(file_from_bytes(path, body) for path, body in files.items()))


def digest_of(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def files_of(archive: Archive | bytes) -> ArchiveFiles:
    """The archive as whoever gets it reads it."""
    body = archive if isinstance(archive, bytes) else b"".join(archive.chunks)

    def read(offset: int, length: int) -> Iterator[bytes]:
        return iter((body[offset : offset + length],))

    return ArchiveFiles("the archive", len(body), read)
