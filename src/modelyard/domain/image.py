"""An image: models, scoring script, environment and runtime, built once, immutable.

The manifest is what the digest is over. The signature, the check's report, tags and times are
attached to the image and outside the digest.
"""

from __future__ import annotations

import json
from datetime import datetime
from enum import StrEnum
from typing import Literal
from uuid import UUID

from pydantic import JsonValue

from modelyard.domain.build import BuildOptions
from modelyard.domain.cause import Cause
from modelyard.domain.model import ModelFormat
from modelyard.domain.optimization import Optimization
from modelyard.domain.signature import Signature
from modelyard.domain.values import Digest, RelativePath, Value, digest_of
from modelyard.errors import Conflict

LONGEST_EXAMPLE = 16 << 10
"""Characters of a sample that is sent to hosts."""


class ImageState(StrEnum):
    """Where a build stands."""

    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


class LayerKind(StrEnum):
    """What a layer carries, in the order in which layers are laid down."""

    ENVIRONMENT = "environment"
    RUNTIME = "runtime"
    CODE = "code"
    MODEL = "model"


class Layer(Value):
    """One content-addressed part of an image: a deterministic, uncompressed tar blob."""

    kind: LayerKind
    digest: Digest
    size: int
    """Bytes of the tar."""


class BaseLayer(Value):
    """One layer of a base, as its image registry has it."""

    digest: Digest
    """Of the blob, which may be compressed."""
    size: int
    """Bytes of the blob."""
    media_type: str
    """What the blob is, such as `application/vnd.oci.image.layer.v1.tar+gzip`."""
    diff_id: Digest
    """Of the tar inside; the same as `digest` where it is not compressed."""


class Base(Value):
    """What an image stands on in a container: a root file system with a Python.

    Where replicas are processes of the host, the host takes its place.
    """

    origin: Literal["host", "image"]
    """`host`: made from the Python and the libraries of the machine that built the image."""
    digest: Digest
    """Identity: of the base's own manifest, or of the one layer that was made from the host."""
    python: str
    """Absolute path of the interpreter inside, such as `/usr/local/bin/python3.11`."""
    layers: tuple[BaseLayer, ...]
    environment: dict[str, str] = {}
    """Variables that its own configuration sets, such as `PATH`."""

    @property
    def size(self) -> int:
        """Bytes of all its blobs."""
        return sum(layer.size for layer in self.layers)


class ModelMount(Value):
    """Where one model's files stand inside the model layer."""

    name: str
    version: int
    path: RelativePath
    """Folder below the model root: `<name>/<version>`."""
    format: ModelFormat | None = None
    """How its files are written; only in an image without a script, which loads them by it."""
    framework: str | None = None
    """What made it; only in an image without a script."""
    optimized: bool | None = None
    """Its files are a faster form of it; `Image.optimization` says which. Null: its own."""

    @property
    def reference(self) -> str:
        """`name:version`."""
        return f"{self.name}:{self.version}"


class Platform(Value):
    """What an image's compiled parts need."""

    os: str
    """`linux` or `darwin`."""
    architecture: str
    """`amd64` or `arm64`."""

    def __str__(self) -> str:
        return f"{self.os}/{self.architecture}"


class Manifest(Value):
    """Everything the digest of an image is over."""

    schema_version: int = 1
    kind: str = "python"
    """What runs it; other kinds bring their own runtime."""
    platform: Platform
    python: str
    """Minor version the environment was resolved for, such as `3.11`."""
    script: RelativePath | None = None
    """The scoring script, below the code root; null when the model is served without one."""
    models: tuple[ModelMount, ...]
    lock: Digest
    """Digest of the environment's lock."""
    base: Base | None = None
    """What it stands on in a container; null: it runs only as processes of a host."""
    layers: tuple[Layer, ...]

    def to_bytes(self) -> bytes:
        """The canonical form: sorted keys, no spaces, UTF-8; what is null is left out."""
        document = self.model_dump(mode="json", exclude_none=True)
        return json.dumps(
            document, sort_keys=True, separators=(",", ":"), ensure_ascii=False
        ).encode()

    @property
    def digest(self) -> str:
        """`sha256:…` of the canonical form: the image's identity."""
        return digest_of(self.to_bytes())

    @property
    def stored(self) -> dict[str, int]:
        """Sizes in bytes of all blobs that it needs, by digest: its own layers' and its base's."""
        base = () if self.base is None else self.base.layers
        sizes = {layer.digest: layer.size for layer in self.layers}
        return sizes | {layer.digest: layer.size for layer in base}

    def layer(self, kind: LayerKind) -> Layer:
        """The one layer of this kind."""
        return next(layer for layer in self.layers if layer.kind is kind)


class Package(Value):
    """One locked package of an environment."""

    name: str
    version: str
    from_source: bool = False
    """It was built from its sources, because there is no wheel of it: building it again may give
    other bytes."""
    saved: int = 0
    """Bytes of its tests, headers, stubs and documentation that were left out."""


class CheckReport(Value):
    """What the check start of an image showed."""

    workers: int
    cold_start: float
    """Seconds from the start of the process until every worker was ready."""
    memory: int
    """Bytes, resident, of all its processes after the sample was scored."""
    sample: JsonValue = None
    """The request that was scored, or null when there was none."""
    answer: JsonValue = None
    """What `run()` made of the sample, or null when there was none."""
    scoring_time: float | None = None
    """Seconds that scoring the sample took, or null when there was none."""
    openapi: JsonValue = None
    """The image's own description of its interface."""
    checked_at: datetime

    @property
    def example(self) -> JsonValue:
        """The sample, for hosts and for the description; null where it is too long to be sent."""
        return self.sample if len(json.dumps(self.sample)) <= LONGEST_EXAMPLE else None


class ImageMark(StrEnum):
    """What is to be known about an image before it is moved or trusted."""

    HOST_BOUND = "host-bound"
    """Its base was made from the host that built it; another host makes another one."""
    FROM_SOURCES = "from-sources"
    """Packages were built from their sources, so building it again may give another digest."""
    UNCHECKED = "unchecked"
    """It was never started: it is for another platform or another Python than its builder's."""


def marks_of(
    manifest: Manifest | None, packages: tuple[Package, ...], report: CheckReport | None
) -> tuple[ImageMark, ...]:
    """The marks of an image that was built; none before that."""
    if manifest is None:
        return ()
    host_bound = manifest.base is not None and manifest.base.origin == "host"
    marks = {
        ImageMark.HOST_BOUND: host_bound,
        ImageMark.FROM_SOURCES: any(package.from_source for package in packages),
        ImageMark.UNCHECKED: report is None,
    }
    return tuple(mark for mark, holds in marks.items() if holds)


class Image(Value):
    """One built version of an image."""

    id: UUID
    workspace: str
    name: str
    version: int
    state: ImageState
    digest: Digest | None = None
    """Identity; null until the layers exist."""
    signature: Signature | None = None
    """Who vouches for the digest; null until it is built."""
    manifest: Manifest | None = None
    models: tuple[str, ...]
    """References of the models inside."""
    script: str | None = None
    """The scoring script; null when the model is served without one."""
    requirements: tuple[str, ...]
    """The requirement lines as they were asked for."""
    packages: tuple[Package, ...] = ()
    """What they were locked to."""
    base: str | None = None
    """What it was to stand on, a tag with its digest; `manifest.base` is what came of it."""
    options: BuildOptions = BuildOptions()
    """How it was asked to be built."""
    marks: tuple[ImageMark, ...] = ()
    """What is to be known before it is moved or trusted."""
    description: str = ""
    tags: dict[str, str] = {}
    properties: dict[str, str] = {}
    check: CheckReport | None = None
    """What its first start showed; null when it was not started yet."""
    optimization: Optimization | None = None
    """What came of looking for a faster form of the model; null when that was not asked for."""
    cause: Cause | None = None
    """Why the build failed."""
    operation: UUID
    """The operation that builds it; its log is the build log."""
    created_at: datetime
    created_by: str

    @property
    def reference(self) -> str:
        """`name:version`."""
        return f"{self.name}:{self.version}"

    def built_manifest(self) -> Manifest:
        """The manifest of an image that is built.

        Raises:
            Conflict: It is not.
        """
        if self.manifest is None:
            raise Conflict(
                f"image `{self.reference}` is not built: its state is {self.state}",
                hint=f"see `modelyard image log {self.reference}`",
            )
        return self.manifest

    @property
    def size(self) -> int:
        """Bytes of its own layers, without those of its base."""
        return sum(layer.size for layer in self.manifest.layers) if self.manifest else 0
