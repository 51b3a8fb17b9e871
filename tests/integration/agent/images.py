"""Small images whose runtime is `fake_runtime`, and the blobs they are made of."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tests.unit.agent.making import make_manifest

from modelyard.domain.image import Layer, LayerKind, Manifest
from modelyard.images.launch import CODE_ROOT, ENVIRONMENT_ROOT, MODELS_ROOT, RUNTIME_ROOT
from modelyard.images.layers import LayerCache, file_from_bytes, tar_chunks

RUNTIME = Path(__file__).with_name("fake_runtime.py")


def make_image(mark: str = "1") -> tuple[Manifest, dict[str, bytes]]:
    """A manifest, and its blobs by digest; another mark makes another model."""
    contents = {
        LayerKind.ENVIRONMENT: {f"{ENVIRONMENT_ROOT}/nothing.py": b""},
        LayerKind.RUNTIME: {
            f"{RUNTIME_ROOT}/modelyard_runtime/__init__.py": b"",
            f"{RUNTIME_ROOT}/modelyard_runtime/__main__.py": RUNTIME.read_bytes(),
        },
        LayerKind.CODE: {f"{CODE_ROOT}/score.py": b""},
        LayerKind.MODEL: {f"{MODELS_ROOT}/digits/1/model": mark.encode()},
    }
    blobs = {}
    layers = []
    for kind, files in contents.items():
        data = b"".join(tar_chunks(file_from_bytes(path, body) for path, body in files.items()))
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        blobs[digest] = data
        layers.append(Layer(kind=kind, digest=digest, size=len(data)))
    return make_manifest(layers), blobs


def unpack(manifest: Manifest, blobs: dict[str, bytes], cache: LayerCache) -> dict[LayerKind, Path]:
    """The unpacked layers of an image."""
    return {
        layer.kind: cache.unpack(layer.digest, [blobs[layer.digest]]) for layer in manifest.layers
    }
