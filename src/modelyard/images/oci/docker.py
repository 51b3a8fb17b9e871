"""Docker's own archive of images, as `docker save` and we write it: read strictly."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from modelyard.errors import IntegrityError, InvalidRequest
from modelyard.images.oci.archive import Files
from modelyard.images.oci.documents import MAX_DOCUMENT, MAX_LAYERS, OciConfig, Text, read_config

LISTING = "manifest.json"
_GZIP_MAGIC = b"\x1f\x8b"


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    config: Text = Field(alias="Config")
    layers: list[Text] = Field(alias="Layers", max_length=MAX_LAYERS)


class DockerArchive:
    """The one image of an archive.

    Args:
        files: What is in the archive.

    Raises:
        InvalidRequest: There are several images inside.
        IntegrityError: It is not what it should be.
        NotFound: A file is missing.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self._entry = self._only(json_of(self._small(LISTING), files.name))
        self.config: OciConfig = read_config(self._small(self._entry.config))
        if len(self.config.rootfs.diff_ids) != len(self._entry.layers):
            raise IntegrityError(f"{files.name} does not say what each of its layers is")
        self._check_complete()

    @property
    def layers(self) -> list[str]:
        """Files of the layers, the lowest first."""
        return self._entry.layers

    def size(self, layer: str) -> int:
        """Bytes of a layer's file."""
        return self._files.size(layer)

    def open(self, layer: str) -> Iterator[bytes]:
        """The bytes of a layer's file."""
        return self._files.open(layer)

    def is_gzip(self, layer: str) -> bool:
        """Whether a layer is compressed; here only its first bytes tell."""
        return next(self.open(layer), b"").startswith(_GZIP_MAGIC)

    def _only(self, listing: Any) -> _Entry:
        if not isinstance(listing, list) or len(listing) != 1:
            raise InvalidRequest(
                f"{self._files.name} does not hold exactly one image",
                hint="save or export the one that is meant",
            )
        try:
            return _Entry.model_validate(listing[0])
        except ValidationError as error:
            raise IntegrityError(f"{self._files.name} says nothing useful of its image") from error

    def _check_complete(self) -> None:
        known = {LISTING, self._entry.config, *self._entry.layers}
        for name in known:
            self._files.size(name)
        if extra := sorted(set(self._files.names()) - known):
            raise IntegrityError(
                f"{self._files.name} holds `{extra[0][:200]}`, which is of no image"
            )

    def _small(self, path: str) -> bytes:
        if self._files.size(path) > MAX_DOCUMENT:
            raise IntegrityError(f"{self._files.name}: `{path[:200]}` is too long")
        return b"".join(self._files.open(path))


def json_of(body: bytes, where: str) -> Any:
    """What a document says. Raises `IntegrityError`."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{where} holds a document that is no JSON") from error
