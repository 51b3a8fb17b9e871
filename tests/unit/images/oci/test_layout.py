"""OCI layouts, read strictly."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.images.oci.layouts import LayoutFolder, on

from modelyard.domain.image import Platform
from modelyard.errors import IntegrityError, InvalidRequest, NotFound
from modelyard.images.oci.documents import LAYER, MANIFEST, MAX_DOCUMENT, to_json
from modelyard.images.oci.layout import open_layout

AMD, ARM = (Platform(os="linux", architecture=name) for name in ("amd64", "arm64"))


@pytest.fixture
def folder(tmp_path: Path) -> LayoutFolder:
    return LayoutFolder(tmp_path / "layout")


def test_finds_the_only_image(folder: LayoutFolder) -> None:
    folder.index(folder.image())
    layout = open_layout(folder.root)
    found = layout.find(AMD)
    assert found.platform == AMD
    assert b"".join(layout.open(found.manifest.layers[0])) == b"layer"
    assert layout.find(None) == found
    layout.check_complete()


def test_finds_the_one_for_a_platform(folder: LayoutFolder) -> None:
    folder.index(on(folder.image("amd64"), "amd64"), on(folder.image("arm64"), "arm64"))
    layout = open_layout(folder.root)
    assert layout.find(ARM).platform == ARM
    with pytest.raises(InvalidRequest, match="several"):
        layout.find(None)
    layout.check_complete()


def test_finds_it_in_an_index_inside(folder: LayoutFolder) -> None:
    inner = folder.nested(on(folder.image("amd64"), "amd64"), on(folder.image("arm64"), "arm64"))
    folder.index(inner)
    layout = open_layout(folder.root)
    assert layout.find(ARM).platform == ARM
    layout.check_complete()


def test_passes_over_what_is_no_image(folder: LayoutFolder) -> None:
    attestation = {
        **folder.image("arm64", b"x"),
        "platform": {"os": "unknown", "architecture": "unknown"},
    }
    folder.index(folder.image(), attestation, folder.put(b"?", "application/x-other"))
    assert open_layout(folder.root).find(None).platform == AMD


def test_one_for_another_platform(folder: LayoutFolder) -> None:
    folder.index(folder.image("arm64"))
    with pytest.raises(InvalidRequest, match="linux/arm64"):
        open_layout(folder.root).find(AMD)


def test_a_platform_that_the_index_lies_about(folder: LayoutFolder) -> None:
    folder.index(on(folder.image("arm64"), "amd64"))
    with pytest.raises(InvalidRequest):
        open_layout(folder.root).find(AMD)


def test_indexes_in_indexes_have_an_end(folder: LayoutFolder) -> None:
    inner = folder.image()
    for _ in range(5):
        inner = folder.nested(inner)
    folder.index(inner)
    with pytest.raises(InvalidRequest):
        open_layout(folder.root).find(AMD)


@pytest.mark.parametrize("which", ["manifest", "config", "layer"])
def test_a_blob_that_is_missing(folder: LayoutFolder, which: str) -> None:
    image = folder.image()
    manifest = json.loads(folder.path(image).read_text())
    blob = {"manifest": image, "config": manifest["config"], "layer": manifest["layers"][0]}[which]
    folder.index(image)
    folder.path(blob).unlink()
    layout = open_layout(folder.root)
    with pytest.raises(NotFound):
        layout.check_complete()


def test_an_index_that_multiplies(folder: LayoutFolder) -> None:
    below = folder.image()
    for _ in range(3):
        below = folder.nested(*[below] * 1000)
    folder.index(*[below] * 1000)
    open_layout(folder.root).check_complete()  # 10^12 ways lead to the image


def test_a_blob_too_many(folder: LayoutFolder) -> None:
    folder.index(folder.image())
    folder.put(b"stowaway")
    with pytest.raises(IntegrityError, match="of no image"):
        open_layout(folder.root).check_complete()


@pytest.mark.parametrize("change", [b"", b"layeR", b"layer+"])
def test_a_blob_that_lies(folder: LayoutFolder, change: bytes) -> None:
    image = folder.image()
    layer = json.loads(folder.path(image).read_text())["layers"][0]
    folder.index(image)
    folder.path(layer).write_bytes(change)
    layout = open_layout(folder.root)
    with pytest.raises(IntegrityError):
        b"".join(layout.open(layout.find(AMD).manifest.layers[0]))


def twice(folder: LayoutFolder) -> Any:
    layer = folder.put(b"layer")
    return folder.image(layers=[layer, layer])


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: folder.image(layers=[]),
        twice,
        lambda folder: folder.image(manifests=[]),
        lambda folder: folder.image(mediaType="application/x-other"),
        lambda folder: folder.image(schemaVersion=1),
        lambda folder: folder.image(config={"mediaType": LAYER, "digest": "sha256:1", "size": 1}),
        lambda folder: folder.image(layers=[{"mediaType": LAYER, "digest": "../x", "size": 1}]),
        lambda folder: folder.put(b"not json", MANIFEST),
        lambda folder: folder.put(b"[" * 100_000, MANIFEST),
        lambda folder: {**folder.image(), "size": MAX_DOCUMENT + 1},
        lambda folder: {**folder.image(), "size": 1},
    ],
)
def test_a_manifest_that_is_not_acceptable(
    folder: LayoutFolder, make: Callable[[LayoutFolder], Any]
) -> None:
    folder.index(make(folder))
    with pytest.raises(IntegrityError):
        open_layout(folder.root).find(AMD)


def test_a_layer_of_another_kind(folder: LayoutFolder) -> None:
    layer = folder.put(b"layer", f"{LAYER}+zstd")
    folder.index(folder.image(layers=[layer]))
    with pytest.raises(InvalidRequest, match="zstd"):
        open_layout(folder.root).find(AMD)


@pytest.mark.parametrize("size", [-1, "1", 1.5, 1 << 50])
def test_a_size_that_is_none(folder: LayoutFolder, size: object) -> None:
    folder.index({**folder.image(), "size": size})
    with pytest.raises(IntegrityError):
        open_layout(folder.root)


@pytest.mark.parametrize("mark", ["", "{}", "[]", '{"imageLayoutVersion": "2.0.0"}'])
def test_what_is_no_layout(folder: LayoutFolder, mark: str) -> None:
    folder.index(folder.image())
    (folder.root / "oci-layout").write_text(mark)
    with pytest.raises(InvalidRequest):
        open_layout(folder.root)


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest):
        open_layout(tmp_path)


def test_documents_are_written_in_one_way() -> None:
    assert to_json({"b": 1, "a": "é\u2028"}) == b'{"a":"\\u00e9\\u2028","b":1}'
