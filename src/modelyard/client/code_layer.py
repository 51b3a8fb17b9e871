"""Which code files an image carries, read from its code layer; a plan compares them.

What the build adds to them, the compiled `__pycache__`, is left out.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator
from typing import Protocol, cast

import httpx2

from modelyard.client.connection import Connection, unreachable
from modelyard.domain.image import Image, LayerKind
from modelyard.errors import IntegrityError

_ROOT = "opt/modelyard/code/"
_CHUNK = 1 << 16


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class _Pieces:
    """A stream over pieces of any length; what `tarfile` needs of a file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def read(self, size: int = -1, /) -> bytes:
        """The next `size` bytes; fewer only at the end."""
        while size < 0 or len(self._rest) < size:
            piece = next(self._pieces, b"")
            if not piece:
                break
            self._rest += piece
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken


def code_digests(connection: Connection, image: Image) -> dict[str, str]:
    """The digest of every code file of a built image, by its path.

    Raises:
        IntegrityError: The layer is not a readable archive.
    """
    if image.manifest is None:
        return {}
    layer = image.manifest.layer(LayerKind.CODE)
    try:
        with connection.stream(f"/blobs/{layer.digest}") as response:
            return dict(_digests(_Pieces(response.iter_raw(_CHUNK))))
    except httpx2.TransportError as error:
        raise unreachable(connection.url, error) from error
    except tarfile.TarError as error:
        raise IntegrityError(
            f"the code layer of image `{image.reference}` cannot be read",
            hint="build the image again",
        ) from error


def _digests(stream: _Readable) -> Iterator[tuple[str, str]]:
    # Members are read in memory and never written, so nothing in the archive can do harm.
    with tarfile.open(fileobj=cast("tarfile._Fileobj", stream), mode="r|") as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isreg() else None
            compiled = "__pycache__" in member.name.split("/")
            if file is None or compiled or not member.name.startswith(_ROOT):
                continue
            hashed = hashlib.sha256()
            while chunk := file.read(_CHUNK):
                hashed.update(chunk)
            yield member.name.removeprefix(_ROOT), f"sha256:{hashed.hexdigest()}"
