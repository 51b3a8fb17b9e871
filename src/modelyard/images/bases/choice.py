"""Finds what an image is to stand on, and stores its layers.

Called by `builder` at the begin of every build. A base is named by a word, by the path of an OCI
layout on this machine, or as an image registry knows it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from modelyard.blobs.base import BlobStore
from modelyard.domain.cause import Cause, CauseCode
from modelyard.domain.image import Base, BaseLayer, Platform
from modelyard.domain.values import digest_of
from modelyard.errors import BuildFailed, InsufficientStorage, InvalidRequest, ModelyardError
from modelyard.images.bases import host
from modelyard.images.bases.ground import Ground
from modelyard.images.bases.take import take
from modelyard.images.failures import build_failed
from modelyard.images.known import KnownLayers
from modelyard.images.launch import current_interpreter, current_platform
from modelyard.images.layers import LayerCache
from modelyard.images.oci.documents import LAYER
from modelyard.images.oci.layout import Layout, open_layout
from modelyard.images.oci.source import Found
from modelyard.images.registry.client import Repository
from modelyard.images.registry.reference import parse_name

HOST = "host"
NONE = "none"


class Bases:
    """The bases of one server."""

    def __init__(self, blobs: BlobStore, layers: LayerCache, known: KnownLayers) -> None:
        self._blobs = blobs
        self._layers = layers
        self._known = known

    def pin(self, base: str) -> str:
        """The same base under a name that cannot come to mean another: a tag gets its digest.

        Raises:
            InvalidRequest: It is no name of a base.
            BuildFailed: The registry does not have it, or does not answer.
        """
        if base in (HOST, NONE) or _is_path(base):
            return base
        image = parse_name(base)
        if image.digest is not None:
            return str(image)
        with _unsuitable(base), Repository(base) as repository:
            return str(image._replace(digest=repository.root().digest))

    def key(self, base: str, platform: Platform) -> str:
        """Something that changes when a pinned base does, found without storing anything.

        Raises:
            InvalidRequest: It is none for this platform.
            BuildFailed: No image can stand on it; `details["cause"]` says why.
        """
        if base == HOST:
            _refuse_elsewhere(platform)
        if base == NONE or (base == HOST and sys.platform != "linux"):
            return f"{NONE} {platform}"
        if base == HOST:
            return _marks(host.host_files())
        if not _is_path(base):
            return f"{parse_name(base).digest} {platform}"
        with _unsuitable(base):
            return f"{_open(base, platform)[1].descriptor.digest} {platform}"

    def find(self, base: str, platform: Platform) -> Ground:
        """The pinned base, its layers stored.

        Raises:
            BuildFailed: No image can stand on it; `details["cause"]` says why.
            InsufficientStorage: The disk is full.
        """
        if base == NONE or (base == HOST and sys.platform != "linux"):
            interpreter = current_interpreter()._replace(platform=platform)
            return Ground(interpreter=interpreter, base=None)
        key = self.key(base, platform)
        ground = self._known.find_ground(key)
        if ground is None:
            ground = self._make(base, platform)
            self._known.remember_ground(ground, key)
        return ground

    def _make(self, base: str, platform: Platform) -> Ground:
        if base == HOST:
            return Ground(interpreter=current_interpreter(), base=self._from_host())
        with _unsuitable(base), ExitStack() as stack:
            if _is_path(base):
                layout, found = _open(base, platform)
                return take(layout, found, self._blobs)
            repository = stack.enter_context(Repository(base))
            return take(repository, repository.pull_manifest(platform), self._blobs)

    def _from_host(self) -> Base:
        with self._blobs.writer() as writer:
            for chunk in host.host_layer(host.host_files(), self._layers):
                writer.write(chunk)
            digest, size = writer.commit()
        layer = BaseLayer(digest=digest, size=size, media_type=LAYER, diff_id=digest)
        return Base(
            origin="host",
            digest=digest,
            python=f"/{host.PYTHON}",
            layers=(layer,),
            environment=host.ENVIRONMENT,
        )


def usual_platform(base: str) -> Platform:
    """What an image on a base is for unless a build says: this host, or its containers."""
    here = current_platform()
    if base in (HOST, NONE):
        return here
    return Platform(os="linux", architecture=here.architecture)  # also in containers on macOS


def _is_path(base: str) -> bool:
    return base.startswith("/")


def _open(base: str, platform: Platform) -> tuple[Layout, Found]:
    layout = open_layout(Path(base))
    return layout, layout.find(platform)


def _refuse_elsewhere(platform: Platform) -> None:
    here = current_platform()
    if platform != here:
        raise InvalidRequest(
            f"an image for {platform} cannot stand on this host's Python, which is for {here}",
            hint="name a base for that platform with --base, or `none` for an image that runs only "
            "as processes of such a host",
        )


def _marks(files: list[host.HostFile]) -> str:
    marks = sorted(file.mark() for file in files)
    return digest_of(json.dumps(marks).encode())


@contextmanager
def _unsuitable(base: str) -> Iterator[None]:
    """What is wrong with a base is a reason a build fails for."""
    try:
        yield
    except (BuildFailed, InsufficientStorage):
        raise
    except ModelyardError as error:
        raise build_failed(
            Cause(
                code=CauseCode.BASE_UNSUITABLE,
                message=f"No image can stand on the base `{base}`.",
                evidence=(error.message,),
                fix=f"{error.hint[:1].upper()}{error.hint[1:]}."
                if error.hint
                else "Name another base: one for the platform of the image, with glibc and a "
                "Python that the runtime and the packages are made for.",
            )
        ) from error
