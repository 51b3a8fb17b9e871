"""The layers of runtime, code and models."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.images.making import make_model, put

from modelyard.blobs.local import LocalBlobs
from modelyard.domain.image import Layer
from modelyard.images import parts
from modelyard.images.launch import base_python, current_interpreter
from modelyard.images.layers import LayerCache, files_below
from modelyard.schemas import FileReference

HERE = current_interpreter()
TAG = f"cpython-{base_python()[1].replace('.', '')}"


class Place:
    def __init__(self, home: Path) -> None:
        self.blobs = LocalBlobs(home / "blobs")
        self.layers = LayerCache(home / "layers")

    def paths(self, layer: Layer) -> set[str]:
        folder = self.layers.path(layer.digest)
        assert folder is not None
        return {file.path for file in files_below(folder / "opt", "opt")}

    def code(self, **files: str | bytes) -> Layer:
        references = [
            FileReference(path=path.replace("__", "/"), digest=put(self.blobs, content))
            for path, content in files.items()
        ]
        return parts.code_layer(references, HERE, self.blobs, self.layers)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "home")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Place]:
    """Another home, another umask."""
    before = os.umask(0o077)
    yield Place(tmp_path / "another" / "home")
    os.umask(before)


class TestRuntime:
    def test_it_holds_the_sources_and_their_byte_code(self, place: Place) -> None:
        paths = place.paths(parts.runtime_layer(HERE, place.blobs, place.layers))
        root = "opt/modelyard/runtime/modelyard_runtime"
        assert f"{root}/__main__.py" in paths
        assert f"{root}/__pycache__/__main__.{TAG}.pyc" in paths
        assert f"{root}/py.typed" in paths
        sources = {path for path in paths if path.endswith(".py")}
        assert len(paths) == 2 * len(sources) + 1

    def test_it_is_the_same_everywhere(self, place: Place, elsewhere: Place) -> None:
        first = parts.runtime_layer(HERE, place.blobs, place.layers)
        assert parts.runtime_layer(HERE, elsewhere.blobs, elsewhere.layers) == first

    def test_its_digest_is_stable(self) -> None:
        assert parts.runtime_digest() == parts.runtime_digest()
        assert parts.runtime_digest().startswith("sha256:")


class TestCode:
    def test_it_is_the_same_everywhere_and_in_any_order(
        self, place: Place, elsewhere: Place
    ) -> None:
        script = "def run(data): return data in {'a', 'b'}\n"
        layer = place.code(score_py=script, data="x")
        assert elsewhere.code(data="x", score_py=script) == layer

    def test_sources_are_compiled_and_the_rest_is_kept(self, place: Place) -> None:
        layer = place.code(
            **{"score.py": "run = 1", "lib__deep.py": "", "bad.py": "print 1", "data.bin": b"\0"}
        )
        assert {path.removeprefix("opt/modelyard/code/") for path in place.paths(layer)} == {
            "score.py",
            f"__pycache__/score.{TAG}.pyc",
            "lib/deep.py",
            f"lib/__pycache__/deep.{TAG}.pyc",
            "bad.py",
            "data.bin",
        }

    def test_byte_code_that_was_uploaded_is_left_out(self, place: Place) -> None:
        files = [
            FileReference(path="score.py", digest=put(place.blobs, "run = 1")),
            FileReference(
                path=f"__pycache__/score.{TAG}.pyc", digest=put(place.blobs, b"something else")
            ),
        ]
        with_it = parts.code_layer(files, HERE, place.blobs, place.layers)
        assert with_it == parts.code_layer(files[:1], HERE, place.blobs, place.layers)

    def test_other_code_is_another_layer(self, place: Place) -> None:
        assert place.code(a="1") != place.code(a="2") != place.code(b="2")

    def test_no_code_is_an_empty_folder(self, place: Place, elsewhere: Place) -> None:
        layer = parts.code_layer([], HERE, place.blobs, place.layers)
        assert layer == parts.code_layer([], HERE, elsewhere.blobs, elsewhere.layers)
        folder = place.layers.path(layer.digest)
        assert folder is not None
        assert list((folder / "opt/modelyard/code").iterdir()) == []


class TestModels:
    def test_each_model_has_its_folder(self, place: Place) -> None:
        models = [
            make_model(place.blobs, "iris", 3, weights=b"w", more=b"m"),
            make_model(place.blobs, "roses", 1, weights=b"w"),
        ]
        layer = parts.model_layer(models, place.blobs, place.layers)
        assert place.paths(layer) == {
            "opt/modelyard/models/iris/3/more.bin",
            "opt/modelyard/models/iris/3/weights.bin",
            "opt/modelyard/models/roses/1/weights.bin",
        }
        assert parts.model_layer(models[::-1], place.blobs, place.layers) == layer

    def test_no_models_is_a_layer_too(self, place: Place) -> None:
        layer = parts.model_layer([], place.blobs, place.layers)
        assert place.paths(layer) == set()
