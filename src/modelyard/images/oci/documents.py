"""The documents of OCI images, and Docker's older ones that say the same: read strictly.

Whoever wrote a document may be hostile: it is small, it is one thing only, and what it promises of
other blobs (digest and size) is what `source.verified` holds them to.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel

from modelyard.domain.image import Platform
from modelyard.domain.values import Digest
from modelyard.errors import IntegrityError, InvalidRequest

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
LAYER_GZIP = f"{LAYER}+gzip"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"

MANIFESTS = (MANIFEST, DOCKER_MANIFEST)
INDEXES = (INDEX, DOCKER_LIST)
GZIP_LAYERS = (LAYER_GZIP, DOCKER_LAYER_GZIP)
LAYERS = (LAYER, *GZIP_LAYERS)

MAX_DOCUMENT = 4 << 20
"""Bytes of a manifest, an index or a configuration: what registries take, too."""
MAX_LAYERS = 1000
_MAX_BLOB = 1 << 40

Text = Annotated[str, StringConstraints(max_length=100_000)]
MediaType = Annotated[
    str,
    StringConstraints(
        max_length=255, pattern=r"^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*/[A-Za-z0-9!#$&^_.+-]+$"
    ),
]


class _Document(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        strict=True,
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )


class OciPlatform(_Document):
    """What an image runs on, in an index."""

    os: Text
    architecture: Text
    variant: Text | None = None


class Descriptor(_Document):
    """A promise of a blob."""

    media_type: MediaType
    digest: Digest
    size: int = Field(ge=0, le=_MAX_BLOB)
    platform: OciPlatform | None = None
    artifact_type: MediaType | None = None
    """In an index: it is no image but an artifact of this type."""
    annotations: dict[Text, Text] | None = None


class OciManifest(_Document):
    """One image for one platform."""

    schema_version: int = Field(2, ge=2, le=2)
    media_type: MediaType | None = None
    artifact_type: MediaType | None = None
    config: Descriptor
    layers: list[Descriptor] = Field(max_length=MAX_LAYERS)
    subject: Descriptor | None = None
    """Of an artifact: the manifest that it refers to."""
    annotations: dict[Text, Text] | None = None


class OciIndex(_Document):
    """Images for several platforms, or several images."""

    schema_version: int = Field(2, ge=2, le=2)
    media_type: MediaType | None = None
    manifests: list[Descriptor] = Field(max_length=1000)
    annotations: dict[Text, Text] | None = None


class RootFs(_Document):
    """Digests of the uncompressed layers."""

    type: Text = "layers"
    diff_ids: list[Digest] = Field(alias="diff_ids", max_length=MAX_LAYERS)


class RunConfig(_Document):
    """How a container is started; only what is of interest of another's image."""

    env: list[Text] | None = Field(None, alias="Env", max_length=1000)
    labels: dict[Text, Text] | None = Field(None, alias="Labels", max_length=1000)


class OciConfig(_Document):
    """The configuration of an image."""

    os: Text
    architecture: Text
    config: RunConfig | None = None
    rootfs: RootFs


Document = TypeVar("Document", bound=_Document)


def read_manifest(data: bytes, media_type: str) -> OciManifest:
    """The manifest in these bytes.

    Raises:
        IntegrityError: They are none of this type, or could be read as something else, too.
    """
    return _read(OciManifest, data, "manifest", media_type, foreign="manifests")


def read_index(data: bytes, media_type: str | None) -> OciIndex:
    """The index in these bytes. Raises `IntegrityError` as `read_manifest` does."""
    return _read(OciIndex, data, "index", media_type, foreign="layers")


def read_config(data: bytes) -> OciConfig:
    """The configuration in these bytes. Raises `IntegrityError` as `read_manifest` does."""
    return _read(OciConfig, data, "configuration", None, foreign="layers")


def choose(index: OciIndex, platform: Platform | None, where: str) -> Descriptor:
    """The one image or further index for a platform; for None, the only one there is.

    Raises:
        InvalidRequest: There is none, or several could be meant.
    """
    listed = [
        one
        for one in index.manifests
        if one.media_type in (*MANIFESTS, *INDEXES) and one.artifact_type is None
    ]
    fitting = [one for one in listed if _fits(one, platform)]
    if len(fitting) == 1:
        return fitting[0]
    there = ", ".join(sorted({_shown(one) for one in listed})) or "nothing"
    wanted = f"for {platform}" if platform else "that is meant"
    count = "several images" if fitting else "no image"
    raise InvalidRequest(
        f"{where} holds {count} {wanted}: it has {there}",
        hint="name one that has exactly one image for the platform",
    )


def to_json(document: Any) -> bytes:
    """The one way in which documents are written: sorted, without spaces, ASCII."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def wire(descriptor: Descriptor) -> dict[str, Any]:
    """A descriptor as documents have it."""
    return descriptor.model_dump(by_alias=True, exclude_none=True)


def _read(
    kind: type[Document], data: bytes, what: str, media_type: str | None, *, foreign: str
) -> Document:
    if len(data) > MAX_DOCUMENT:
        raise IntegrityError(f"the {what} is longer than {MAX_DOCUMENT} bytes")
    try:
        raw = json.loads(data)
        if not isinstance(raw, dict) or foreign in raw:
            raise IntegrityError(f"what should be the {what} of an image is something else")
        document = kind.model_validate_json(data)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"the {what} of the image is not acceptable: {_why(error)}") from error
    stated = raw.get("mediaType")
    if media_type is not None and stated is not None and stated != media_type:
        raise IntegrityError(f"the {what} was announced as {media_type} and says it is another")
    return document


def _why(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"[:300]
    return str(error)[:300]


def _fits(one: Descriptor, platform: Platform | None) -> bool:
    own = one.platform
    if own is None or platform is None:
        return own is None or own.os != "unknown"  # so are attestations marked
    return (own.os, own.architecture) == (platform.os, platform.architecture)


def _shown(one: Descriptor) -> str:
    own = one.platform
    return f"{own.os[:40]}/{own.architecture[:40]}" if own else "one for any platform"
