"""Remembering which layer came out of which inputs."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.blobs.local import LocalBlobs
from modelyard.domain.image import Layer, LayerKind
from modelyard.images.known import KnownLayers


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(tmp_path / "blobs")


@pytest.fixture
def known(tmp_path: Path, blobs: LocalBlobs) -> KnownLayers:
    return KnownLayers(tmp_path / "known", blobs)


@pytest.fixture
def layer(blobs: LocalBlobs) -> Layer:
    with blobs.writer() as writer:
        writer.write(b"layer")
        digest, size = writer.commit()
    return Layer(kind=LayerKind.CODE, digest=digest, size=size)


def test_the_same_inputs_find_the_layer(known: KnownLayers, layer: Layer) -> None:
    assert known.find(LayerKind.CODE, [["a", "1"]]) is None
    known.remember(layer, [["a", "1"]])
    assert known.find(LayerKind.CODE, [["a", "1"]]) == layer


def test_other_inputs_another_kind_or_another_python_do_not(
    known: KnownLayers, layer: Layer, monkeypatch: pytest.MonkeyPatch
) -> None:
    known.remember(layer, [["a", "1"]])
    assert known.find(LayerKind.CODE, [["a", "2"]]) is None
    assert known.find(LayerKind.MODEL, [["a", "1"]]) is None
    monkeypatch.setattr("platform.python_version", lambda: "3.11.99")
    assert known.find(LayerKind.CODE, [["a", "1"]]) is None


def test_a_layer_whose_blob_is_gone_is_not_known(
    known: KnownLayers, layer: Layer, blobs: LocalBlobs
) -> None:
    known.remember(layer, "x")
    blobs.delete(layer.digest)
    assert known.find(LayerKind.CODE, "x") is None


def test_a_damaged_entry_is_not_known(known: KnownLayers, layer: Layer, tmp_path: Path) -> None:
    known.remember(layer, "x")
    (entry,) = (tmp_path / "known").iterdir()
    for damage in (b"", b"{", b'{"kind": "code"}', b"\xff"):
        entry.write_bytes(damage)
        assert known.find(LayerKind.CODE, "x") is None
    known.remember(layer, "x")
    assert known.find(LayerKind.CODE, "x") == layer
