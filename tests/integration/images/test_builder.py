"""Building images whole: the same inputs give the same digest, and what is known is not redone."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from tests.integration.images.conftest import Workshop
from tests.integration.images.making import (
    RUNTIME_NEEDS,
    WHEELHOUSE,
    make_model,
    make_request,
    write_wheel,
)

from modelyard.domain.cause import CauseCode
from modelyard.domain.image import LayerKind, Platform
from modelyard.errors import BuildFailed, InsufficientStorage
from modelyard.images.bases.ground import Ground
from modelyard.images.builder import ImageBuilder
from modelyard.images.launch import Interpreter, current_interpreter
from modelyard.images.layers import LayerCache
from modelyard.settings import Settings

HERE = current_interpreter()
LEARN = """
import json
from sklearn.linear_model import LogisticRegression

def init():
    global model
    model = LogisticRegression().fit([[0.0], [1.0]], [0, 1])

def run(data):
    return model.predict(json.loads(data)["data"]).tolist()
"""


def test_a_real_environment_trains_and_scores(workshop: Workshop) -> None:
    request = make_request(workshop.blobs, LEARN, ["scikit-learn"])
    lock = workshop.builder.lock(request.requirements, HERE, request, workshop.log)
    _, environment = workshop.builder.environment(lock, workshop.log)
    manifest = workshop.builder.assemble(
        request, [], workshop.ground, lock, environment, workshop.log
    )
    signature = workshop.key.sign(manifest.digest)
    report = workshop.builder.check(manifest, signature, {"data": [[0.1], [0.9]]}, workshop.log)
    assert report.answer == [0, 1]
    said = [text for source, text in workshop.lines if source == "build"]
    assert said[0] == "locking 1 requirement"
    assert any(text.startswith("ready after ") for text in said)


class TestAssemble:
    def test_the_manifest_names_everything(self, workshop: Workshop) -> None:
        model = make_model(workshop.blobs, "roses", 7, weights=b"w")
        manifest = workshop.assemble(models=[model])
        assert [layer.kind for layer in manifest.layers] == list(LayerKind)
        assert manifest.layer(LayerKind.ENVIRONMENT) == workshop.environment
        assert manifest.lock == workshop.lock.digest
        assert (manifest.script, manifest.models[0].reference) == ("score.py", "roses:7")
        assert manifest.models[0].path == "roses/7"

    def test_a_retrained_model_changes_only_its_layer(self, workshop: Workshop) -> None:
        before = workshop.assemble(models=[make_model(workshop.blobs, version=1, w=b"1")])
        workshop.lines.clear()
        after = workshop.assemble(models=[make_model(workshop.blobs, version=2, w=b"2")])
        assert before.layers[:3] == after.layers[:3]
        assert before.layers[3] != after.layers[3]
        said = [text.partition(",")[0] for _, text in workshop.lines]
        assert said[:2] == ["runtime: cached", "code: cached"]
        assert not said[2].endswith("cached")

    def test_the_same_inputs_take_no_work(self, workshop: Workshop) -> None:
        model = make_model(workshop.blobs, w=b"same")
        before = workshop.assemble(models=[model])
        workshop.lines.clear()
        assert workshop.assemble(models=[model]) == before
        assert all(": cached," in text for _, text in workshop.lines)

    def test_a_cached_layer_is_unpacked_again_when_it_is_needed(self, workshop: Workshop) -> None:
        manifest = workshop.assemble("def run(data): return 5")
        fresh = ImageBuilder(
            workshop.blobs,
            LayerCache(workshop.home / "other layers"),
            Settings(home=workshop.home, wheels=WHEELHOUSE),
            workshop.key,
        )
        signature = workshop.key.sign(manifest.digest)
        assert fresh.check(manifest, signature, 1, workshop.log).answer == 5


def test_an_image_for_another_platform_and_python_is_built_from_its_wheels(
    tmp_path: Path, workshop: Workshop
) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for wheel in WHEELHOUSE.glob("*.whl"):
        name, version, _ = wheel.name.split("-", 2)
        if name in RUNTIME_NEEDS:
            tag = "cp313-cp313-manylinux_2_28_aarch64"
            write_wheel(wheels, name, version=version, tag=tag)
    write_wheel(wheels, "wrong_system", tag="cp313-cp313-manylinux_2_28_x86_64")
    builder = ImageBuilder(
        workshop.blobs,
        workshop.layers,
        Settings(home=tmp_path / "home", wheels=wheels),
        workshop.key,
    )
    request = make_request(workshop.blobs, other="x = 1\n")
    arm = Interpreter(Platform(os="linux", architecture="arm64"), "3.13")
    lock = builder.lock([], arm, request, workshop.log)
    assert lock.text.startswith("# Python 3.13, linux/arm64\n")
    _, environment = builder.environment(lock, workshop.log)
    ground = Ground(interpreter=arm, base=None)
    manifest = builder.assemble(request, [], ground, lock, environment, workshop.log)
    assert (str(manifest.platform), manifest.python) == ("linux/arm64", "3.13")
    for layer in manifest.layers:
        folder = workshop.layers.path(layer.digest)
        assert folder is not None
        assert not list(folder.rglob("*.pyc"))  # this host can only compile for its own version
    with pytest.raises(BuildFailed, match="`wrong-system` has no wheel"):
        builder.lock(["wrong_system"], arm, request, workshop.log)


class TestKeys:
    def test_the_lock_key_depends_on_what_is_asked_for(self, workshop: Workshop) -> None:
        key = workshop.builder.lock_key
        assert key(["numpy>=2", "scipy"], HERE) == key(["scipy", "numpy >=2", "scipy"], HERE)
        assert key(["numpy>=2"], HERE) != key(["numpy>=3"], HERE) != key([], HERE)
        assert key([], HERE) != key([], HERE._replace(python="3.9"))

    def test_the_runtime_is_part_of_the_inputs(self, workshop: Workshop) -> None:
        assert workshop.builder.runtime_digest().startswith("sha256:")


class TestAFullDisk:
    @pytest.mark.parametrize(
        "error", [InsufficientStorage("the disk is full"), OSError(errno.ENOSPC, "No space left")]
    )
    def test_it_is_the_cause_whoever_met_it(
        self, workshop: Workshop, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        def full(cache: LayerCache) -> None:
            raise error

        monkeypatch.setattr(LayerCache, "staging", full)
        with pytest.raises(BuildFailed) as caught:
            workshop.assemble("def run(data): return 'not built before'")
        assert caught.value.details["cause"]["code"] == CauseCode.STORAGE_FULL
        with pytest.raises(BuildFailed) as caught:
            workshop.builder.environment(workshop.lock, workshop.log)
        assert caught.value.details["cause"]["code"] == CauseCode.STORAGE_FULL

    def test_other_trouble_with_files_is_not_called_that(
        self, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(cache: LayerCache) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(LayerCache, "staging", broken)
        with pytest.raises(PermissionError):
            workshop.builder.environment(workshop.lock, workshop.log)
