"""The canonical form of a manifest, which is what the digest of an image is over."""

from __future__ import annotations

import json

from modelyard.domain.image import Layer, LayerKind, Manifest, ModelMount, Platform
from modelyard.domain.model import ModelFormat

DIGEST = f"sha256:{'0' * 64}"
WITH_SCRIPT = Manifest(
    platform=Platform(os="linux", architecture="amd64"),
    python="3.11",
    script="score.py",
    models=(ModelMount(name="iris", version=3, path="iris/3"),),
    lock=DIGEST,
    layers=tuple(Layer(kind=kind, digest=DIGEST, size=1) for kind in LayerKind),
)
ALONE = WITH_SCRIPT.model_copy(
    update={
        "script": None,
        "models": (ModelMount(name="iris", version=3, path="iris/3", format=ModelFormat.ONNX),),
    }
)


def test_images_with_a_script_keep_the_digest_that_they_always_had() -> None:
    assert WITH_SCRIPT.digest == (
        "sha256:3c8af0284a6e1d11f99b7dbecb3ee492a55703acab4dc8ac6c174a39342e92e6"
    )
    document = json.loads(WITH_SCRIPT.to_bytes())
    assert document["script"] == "score.py"
    assert document["models"] == [{"name": "iris", "version": 3, "path": "iris/3"}]


def test_a_manifest_without_a_script_says_what_the_model_is() -> None:
    document = json.loads(ALONE.to_bytes())
    assert "script" not in document
    assert document["models"][0]["format"] == "onnx"
    assert ALONE.digest != WITH_SCRIPT.digest
    assert Manifest.model_validate_json(ALONE.to_bytes()) == ALONE
