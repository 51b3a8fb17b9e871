"""Which layer came out of which inputs: spares writing one again that is stored already.

Only a saving: the same inputs give the same layer anyway, and a lost or damaged entry costs time.
"""

from __future__ import annotations

import hashlib
import json
import platform
import secrets
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, JsonValue, ValidationError

from modelyard.blobs.base import BlobStore
from modelyard.domain.image import BaseLayer, Layer, LayerKind

_FORMAT = 1
"""Grows when layers are written in another way."""
_BASE = "base"

Known = TypeVar("Known", Layer, BaseLayer)


class KnownLayers:
    """One small file per layer below `folder`; any number of processes may use it at a time."""

    def __init__(self, folder: Path, blobs: BlobStore) -> None:
        self._folder = folder
        self._blobs = blobs

    def find(self, kind: LayerKind, inputs: JsonValue) -> Layer | None:
        """The layer of these inputs, if its blob is still stored."""
        return self._read(self._place(kind, inputs), Layer)

    def remember(self, layer: Layer, inputs: JsonValue) -> None:
        """Keep which layer these inputs gave."""
        self._write(self._place(layer.kind, inputs), layer)

    def find_base(self, inputs: JsonValue) -> BaseLayer | None:
        """The base layer of these inputs, if its blob is still stored."""
        return self._read(self._place(_BASE, inputs), BaseLayer)

    def remember_base(self, layer: BaseLayer, inputs: JsonValue) -> None:
        """Keep which base layer these inputs gave."""
        self._write(self._place(_BASE, inputs), layer)

    def _read(self, place: Path, form: type[Known]) -> Known | None:
        try:
            layer = form.model_validate_json(place.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None
        return layer if self._blobs.exists(layer.digest) else None

    def _write(self, place: Path, layer: BaseModel) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = place.with_suffix(f".{secrets.token_hex(4)}")
        try:
            temporary.write_text(layer.model_dump_json(), encoding="utf-8")
            temporary.replace(place)
        finally:
            temporary.unlink(missing_ok=True)

    def _place(self, kind: str, inputs: JsonValue) -> Path:
        # Byte code differs between versions of Python, the patch level included.
        document = json.dumps([_FORMAT, platform.python_version(), kind, inputs], sort_keys=True)
        return self._folder / f"{hashlib.sha256(document.encode()).hexdigest()}.json"
