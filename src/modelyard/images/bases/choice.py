"""Finds what an image is to stand on, and stores its layers.

Called by `builder` at the begin of every build.
"""

from __future__ import annotations

import hashlib
import json
import sys
from typing import NamedTuple

from modelyard.blobs.base import BlobStore
from modelyard.domain.image import Base, BaseLayer
from modelyard.errors import InvalidRequest
from modelyard.images.bases import host
from modelyard.images.known import KnownLayers
from modelyard.images.launch import Interpreter, current_interpreter
from modelyard.images.layers import LayerCache

HOST = "host"
NONE = "none"

_TAR = "application/vnd.oci.image.layer.v1.tar"


class Ground(NamedTuple):
    """What an image stands on."""

    interpreter: Interpreter
    """The Python that its environment is made for."""
    base: Base | None
    """Null: it runs only as processes of a host."""


class Bases:
    """The bases of one server."""

    def __init__(self, blobs: BlobStore, layers: LayerCache, known: KnownLayers) -> None:
        self._blobs = blobs
        self._layers = layers
        self._known = known

    def key(self, base: str) -> str:
        """Something that changes when the base does, found without storing anything.

        Raises:
            InvalidRequest: It is no base.
            BuildFailed: This host cannot be one.
        """
        if base == HOST and sys.platform == "linux":
            return _marks(host.host_files())
        if base in (HOST, NONE):
            return NONE
        raise InvalidRequest(f"`{base}` is not a base", hint=f"give `{HOST}` or `{NONE}`")

    def find(self, base: str) -> Ground:
        """The base, its layers stored.

        Raises:
            BuildFailed: It is none that an image can stand on; `details["cause"]` says why.
            InsufficientStorage: The disk is full.
        """
        interpreter = current_interpreter()
        if base == HOST and sys.platform == "linux":
            return Ground(interpreter, self._host())
        return Ground(interpreter, None)

    def _host(self) -> Base:
        files = host.host_files()
        marks = _marks(files)
        layer = self._known.find_base(marks)
        if layer is None:
            layer = self._store(files)
            self._known.remember_base(layer, marks)
        return Base(
            origin="host",
            digest=layer.digest,
            python=f"/{host.PYTHON}",
            layers=(layer,),
            environment=host.ENVIRONMENT,
        )

    def _store(self, files: list[host.HostFile]) -> BaseLayer:
        with self._blobs.writer() as writer:
            for chunk in host.host_layer(files, self._layers):
                writer.write(chunk)
            stored = writer.commit()
        return BaseLayer(
            digest=stored.digest, size=stored.size, media_type=_TAR, diff_id=stored.digest
        )


def _marks(files: list[host.HostFile]) -> str:
    marks = sorted(file.mark() for file in files)
    return f"sha256:{hashlib.sha256(json.dumps(marks).encode()).hexdigest()}"
