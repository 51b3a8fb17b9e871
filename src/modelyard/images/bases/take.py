"""Takes a base from where it lies: looks inside, and stores its layers as they are.

Called by `choice`. Before anything is stored it is known that the platform is right; before
anything counts it is known that every byte is what its digest says, and that there is a Python
inside that images can use.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from importlib.metadata import metadata

from packaging.specifiers import SpecifierSet

from modelyard.blobs.base import BlobStore
from modelyard.domain.image import Base, BaseLayer, Platform
from modelyard.errors import IntegrityError
from modelyard.images.bases.ground import Ground
from modelyard.images.bases.inside import Contents, wanted_head
from modelyard.images.bases.inside import Found as FoundPython
from modelyard.images.bases.walk import walk
from modelyard.images.launch import Interpreter
from modelyard.images.layers import also
from modelyard.images.oci.compression import inflated, most_inflated
from modelyard.images.oci.documents import GZIP_LAYERS, Descriptor, OciConfig
from modelyard.images.oci.source import Found, Source

_MOST_MEMBERS = 500_000


def take(source: Source, found: Found, blobs: BlobStore) -> Ground:
    """Store the layers of a base, and say what it is.

    Raises:
        IntegrityError: It is not what it says, or images cannot stand on it.
        NotFound: A blob is missing.
        InsufficientStorage: The disk is full.
    """
    environment = _environment(found.config)
    contents, layers = Contents(), []
    for layer, diff_id in zip(found.manifest.layers, found.config.rootfs.diff_ids, strict=True):
        layers.append(_take_layer(source, layer, diff_id, contents, blobs))
    python = contents.python(environment.get("PATH", ""))
    _check_python(python, found.platform)
    base = Base(
        origin="image",
        digest=found.descriptor.digest,
        python=python.path,
        layers=tuple(layers),
        environment=environment,
    )
    return Ground(interpreter=Interpreter(found.platform, python.version), base=base)


def _environment(config: OciConfig) -> dict[str, str]:
    """The variables that it sets."""
    variables = {}
    for text in (config.config.env if config.config is not None else None) or ():
        name, equals, value = text.partition("=")
        if not equals or not (name.isidentifier() and name.isascii()) or "\0" in value:
            raise IntegrityError(f"its configuration sets `{text[:100]}`, which is no variable")
        variables[name] = value
    return variables


def _check_python(python: FoundPython, platform: Platform) -> None:
    if python.architecture != platform.architecture:
        raise IntegrityError(
            f"its {python.path} is a program for {python.architecture}, "
            f"and the image is for {platform}"
        )
    wanted = SpecifierSet(metadata("modelyard-runtime")["Requires-Python"])
    if not wanted.contains(python.version):
        raise IntegrityError(
            f"its {python.path} is Python {python.version}, and the runtime needs {wanted}"
        )


def _take_layer(
    source: Source, layer: Descriptor, diff_id: str, contents: Contents, blobs: BlobStore
) -> BaseLayer:
    with blobs.writer() as writer:
        pieces = also(writer, source.open(layer))
        if layer.media_type in GZIP_LAYERS:
            pieces = inflated(pieces, most_inflated(layer.size))
        hashed = _Hashed(pieces)
        contents.lay(walk(hashed, _MOST_MEMBERS, wanted_head))
        if hashed.digest != diff_id:
            raise IntegrityError(f"layer {layer.digest} holds {hashed.digest} and not {diff_id}")
        writer.commit(layer.digest)
    return BaseLayer(
        digest=layer.digest, size=layer.size, media_type=layer.media_type, diff_id=diff_id
    )


class _Hashed:
    """Hashes what passes through."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces
        self._hash = hashlib.sha256()

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self._hash.update(piece)
            yield piece

    @property
    def digest(self) -> str:
        """`sha256:…` of what passed."""
        return f"sha256:{self._hash.hexdigest()}"
