"""What test images stand on: this host's Python, made once per run."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from modelyard.blobs.local import LocalBlobs
from modelyard.domain.image import Base
from modelyard.images.bases.choice import HOST, Bases
from modelyard.images.known import KnownLayers
from modelyard.images.launch import current_platform
from modelyard.images.layers import LayerCache


@cache
def host_base() -> tuple[Base, bytes]:
    """The base and the bytes of its one layer."""
    with tempfile.TemporaryDirectory() as folder:
        blobs = LocalBlobs(Path(folder, "blobs"))
        known = KnownLayers(Path(folder, "known"), blobs)
        base = (
            Bases(blobs, LayerCache(Path(folder, "layers")), known)
            .find(HOST, current_platform())
            .base
        )
        assert base is not None
        return base, b"".join(blobs.open(base.layers[0].digest))
