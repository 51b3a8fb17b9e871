"""Takes in an image of ours that comes as an OCI image: every byte is compared before it counts.

The image says in its last layer what it is made of. Nothing else that comes with it is believed:
each blob must be what that manifest, the layout and the configuration agree on.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from packaging.utils import canonicalize_name
from pydantic import ValidationError

from modelyard.blobs.base import BlobStore
from modelyard.domain.image import BaseLayer, Layer, LayerKind, Manifest, Package, Platform
from modelyard.domain.values import NAME_PATTERN, size_text
from modelyard.errors import IntegrityError, InvalidRequest
from modelyard.images.launch import ENVIRONMENT_ROOT, MANIFEST_PATH, ROOTS
from modelyard.images.layers import also
from modelyard.images.oci.archive import Files
from modelyard.images.oci.attachments import Attachment
from modelyard.images.oci.compression import inflated, most_inflated
from modelyard.images.oci.docker import LISTING, DockerArchive
from modelyard.images.oci.documents import GZIP_LAYERS, LAYERS, OciConfig
from modelyard.images.oci.layout import MARK, Layout
from modelyard.images.oci.source import Found, Source, verified
from modelyard.images.tar import TarStream

_MAX_MANIFEST_LAYER = 8 << 20
_DIST_INFO = re.compile(rf"{ENVIRONMENT_ROOT}/([^/-]+)-([^/]+)\.dist-info")

Log = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class CarriedLayer:
    """One layer, wherever it lies."""

    size: int
    """Bytes as it is carried."""
    is_gzip: bool
    open: Callable[[], Iterator[bytes]]

    def tar(self, limit: int) -> Iterator[bytes]:
        """The layer uncompressed, `limit` bytes at most."""
        return inflated(self.open(), limit) if self.is_gzip else self.open()


@dataclass(frozen=True, slots=True)
class Carried:
    """An image as it comes."""

    name: str
    """Where from, for messages."""
    config: OciConfig
    layers: tuple[CarriedLayer, ...]
    beside: Sequence[Attachment] = ()
    """What is kept beside it where it comes from: signatures, SBOMs."""

    @property
    def labels(self) -> dict[str, str]:
        """What it says of itself, which proves nothing."""
        return (self.config.config and self.config.config.labels) or {}


def carried_in(files: Files, platform: Platform | None = None) -> Carried:
    """The image in an archive or a folder, in whichever form it is.

    Raises:
        InvalidRequest: There is no image that can be read, or not exactly one.
        NotFound: Something is missing.
        IntegrityError: Something is not what it should be, or is too many.
    """
    names = set(files.names())
    if MARK in names:
        layout = Layout(files)
        layout.check_complete()
        found = layout.find(platform)
        return carried_by(layout, found, layout.attachments(found.descriptor))
    if LISTING in names:
        return _in_docker_archive(files)
    raise InvalidRequest(
        f"{files.name} holds no image",
        hint="give what `modelyard image export` wrote as `oci` or `docker`",
    )


def carried_by(source: Source, found: Found, beside: Sequence[Attachment]) -> Carried:
    """An image that a source has, with what it has beside it."""
    layers = (
        CarriedLayer(one.size, one.media_type in GZIP_LAYERS, partial(source.open, one))
        for one in found.manifest.layers
    )
    return Carried(source.name, found.config, tuple(layers), beside)


def _in_docker_archive(files: Files) -> Carried:
    archive = DockerArchive(files)
    layers = (
        CarriedLayer(archive.size(name), archive.is_gzip(name), partial(archive.open, name))
        for name in archive.layers
    )
    return Carried(files.name, archive.config, tuple(layers))


def read_manifest(carried: Carried) -> Manifest:
    """What the image is made of, as its last layer says, if everything fits to that.

    Raises:
        InvalidRequest: It is no image of ours, or one of a later version.
        IntegrityError: It contradicts itself.
    """
    manifest = _manifest(carried)
    _check_parts(manifest, carried.name)
    base = () if manifest.base is None else manifest.base.layers
    expected = [*(one.diff_id for one in base), *(one.digest for one in manifest.layers)]
    config = carried.config
    if config.rootfs.diff_ids[:-1] != expected:
        raise IntegrityError(f"{carried.name} has other layers than its manifest says")
    if (config.os, config.architecture) != (manifest.platform.os, manifest.platform.architecture):
        raise IntegrityError(f"{carried.name} is not for {manifest.platform}, as its manifest says")
    return manifest


def store_layers(
    carried: Carried,
    manifest: Manifest,
    blobs: BlobStore,
    hold: Callable[[str, int], None],
    log: Log,
) -> None:
    """Store every layer that is not here yet.

    Args:
        carried: Where they are.
        manifest: What they must be; `read_manifest` has found it to fit.
        blobs: Where they go.
        hold: Is called with digest and size of each, so that it is not collected.
        log: Takes a line for each.

    Raises:
        IntegrityError: One has other bytes, or holds what could do harm.
        InsufficientStorage: The disk is full.
    """
    base = () if manifest.base is None else manifest.base.layers
    wanted: list[BaseLayer | Layer] = [*base, *manifest.layers]
    for layer, source in zip(wanted, carried.layers, strict=False):
        what = layer.kind if isinstance(layer, Layer) else "base"
        if blobs.exists(layer.digest) and blobs.size(layer.digest) == layer.size:
            log(f"{what}: here already")
        else:
            with _named(f"{carried.name}: {what} layer {layer.digest}"):
                if isinstance(layer, Layer):
                    _store_own(layer, source, carried.name, blobs)
                else:
                    _store_base(layer, source, carried.name, blobs)
            log(f"{what}: {size_text(source.size)}")
        hold(layer.digest, layer.size)


@contextmanager
def _named(what: str) -> Iterator[None]:
    """Say in which layer something is wrong, whatever noticed it first."""
    try:
        yield
    except IntegrityError as error:
        raise IntegrityError(f"{what}: {error.message}", hint=error.hint) from error


def packages_in(chunks: Iterable[bytes]) -> tuple[Package, ...]:
    """What is installed in an environment layer, as its own records say."""
    found = []
    for member, content in TarStream(chunks).members():
        for _ in content:
            pass
        if member.folder and (match := _DIST_INFO.fullmatch(member.path)):
            found.append(Package(name=canonicalize_name(match[1]), version=match[2]))
    return tuple(sorted(found, key=lambda package: package.name))


def _manifest(carried: Carried) -> Manifest:
    foreign = InvalidRequest(
        f"{carried.name} is not an image of Modelyard",
        hint="an image of others can be a base: `modelyard image build --base`",
    )
    if not carried.layers:
        raise foreign
    digest, body = _only_file(carried.layers[-1], carried.name)
    if body is None:
        raise foreign
    if digest != carried.config.rootfs.diff_ids[-1]:
        raise IntegrityError(f"{carried.name}: the layer with its manifest has other bytes")
    try:
        manifest = Manifest.model_validate_json(body)
    except (ValidationError, RecursionError) as error:
        raise IntegrityError(f"{carried.name}: its manifest is not acceptable") from error
    if manifest.to_bytes() != body or manifest.schema_version != 1:
        raise InvalidRequest(
            f"{carried.name} was made by another version of Modelyard",
            hint="take it in with a server of that version",
        )
    return manifest


def _only_file(layer: CarriedLayer, where: str) -> tuple[str, bytes | None]:
    """Digest of the last layer and its one file; None where it is another layer altogether."""
    if layer.size > _MAX_MANIFEST_LAYER:
        return "", None
    hashed = hashlib.sha256()
    body: bytes | None = None
    try:
        stream = TarStream(_hashing(hashed.update, layer.tar(_MAX_MANIFEST_LAYER)))
        for member, content in stream.members():
            data = b"".join(content)
            if member.path == MANIFEST_PATH and not member.folder:
                body = data
            elif not MANIFEST_PATH.startswith(f"{member.path}/"):
                return "", None
    except IntegrityError as error:
        raise IntegrityError(f"{where}: its last layer: {error.message}") from error
    return f"sha256:{hashed.hexdigest()}", body


def _hashing(update: Callable[[bytes], object], chunks: Iterable[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        update(chunk)
        yield chunk


def _check_parts(manifest: Manifest, where: str) -> None:
    """See that the manifest is one that a build could have made."""
    base = () if manifest.base is None else manifest.base.layers
    fits = (
        [layer.kind for layer in manifest.layers] == list(LayerKind)
        and all(size >= 0 for size in manifest.stored.values())
        and all(layer.media_type in LAYERS for layer in base)
        and all(
            re.fullmatch(NAME_PATTERN, model.name)
            and model.version > 0
            and model.path == f"{model.name}/{model.version}"
            for model in manifest.models
        )
    )
    if not fits:
        raise IntegrityError(f"{where}: its manifest says what no build writes")


def _store_own(layer: Layer, source: CarriedLayer, where: str, blobs: BlobStore) -> None:
    root = ROOTS[layer.kind]
    with blobs.writer() as writer:
        chunks = verified(source.tar(layer.size), layer.digest, layer.size, where)
        for member, content in TarStream(also(writer, chunks), layer.size).members():
            for _ in content:
                pass
            if not (f"{member.path}/").startswith(f"{root}/") and not (
                member.folder and root.startswith(f"{member.path}/")
            ):
                raise IntegrityError(f"it holds `{member.path[:200]}`, which does not belong there")
        writer.commit(layer.digest)


def _store_base(layer: BaseLayer, source: CarriedLayer, where: str, blobs: BlobStore) -> None:
    """Keep a layer as it is carried, once it is known what comes out of it."""
    hashed = hashlib.sha256()
    with blobs.writer() as writer:
        chunks = also(writer, verified(source.open(), layer.digest, layer.size, where))
        if layer.media_type in GZIP_LAYERS:
            chunks = inflated(chunks, most_inflated(layer.size))
        for chunk in chunks:
            hashed.update(chunk)
        if f"sha256:{hashed.hexdigest()}" != layer.diff_id:
            raise IntegrityError("it holds something else than the manifest says")
        writer.commit(layer.digest)
