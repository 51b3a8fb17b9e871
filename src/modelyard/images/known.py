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
from modelyard.domain.image import Layer, LayerKind
from modelyard.images.bases.ground import Ground

_FORMAT = 1
"""Grows when layers are written in another way."""
_BASE = "base"

Known = TypeVar("Known", Layer, Ground)


class KnownLayers:
    """One small file per layer below `folder`; any number of processes may use it at a time."""

    def __init__(self, folder: Path, blobs: BlobStore) -> None:
        self._folder = folder
        self._blobs = blobs

    def find(self, kind: LayerKind, inputs: JsonValue) -> Layer | None:
        """The layer of these inputs, if its blob is still stored."""
        layer = self._read(self._place(kind, inputs), Layer)
        return layer if layer is not None and self._blobs.exists(layer.digest) else None

    def remember(self, layer: Layer, inputs: JsonValue) -> None:
        """Keep which layer these inputs gave."""
        self._write(self._place(layer.kind, inputs), layer)

    def find_ground(self, inputs: JsonValue) -> Ground | None:
        """What came of a base, if all of its layers are still stored."""
        ground = self._read(self._place(_BASE, inputs), Ground)
        base = () if ground is None or ground.base is None else ground.base.layers
        return ground if all(self._blobs.exists(layer.digest) for layer in base) else None

    def remember_ground(self, ground: Ground, inputs: JsonValue) -> None:
        """Keep what came of a base."""
        self._write(self._place(_BASE, inputs), ground)

    def _read(self, place: Path, form: type[Known]) -> Known | None:
        try:
            return form.model_validate_json(place.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def _write(self, place: Path, known: BaseModel) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = place.with_suffix(f".{secrets.token_hex(4)}")
        try:
            temporary.write_text(known.model_dump_json(), encoding="utf-8")
            temporary.replace(place)
        finally:
            temporary.unlink(missing_ok=True)

    def _place(self, kind: str, inputs: JsonValue) -> Path:
        # Byte code differs between versions of Python, the patch level included.
        document = json.dumps([_FORMAT, platform.python_version(), kind, inputs], sort_keys=True)
        return self._folder / f"{hashlib.sha256(document.encode()).hexdigest()}.json"
