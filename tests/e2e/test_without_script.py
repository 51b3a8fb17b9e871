"""From a trained model to a service that answers, with no scoring script and no requirements."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
from skl2onnx import to_onnx
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import modelyard
from modelyard import Action
from modelyard.errors import InvalidRequest

FLOWERS = load_iris(as_frame=True)
ROWS = FLOWERS.data.iloc[::30]
MODEL = make_pipeline(StandardScaler(), LogisticRegression()).fit(FLOWERS.data, FLOWERS.target)
FIRST = {name: float(value) for name, value in ROWS.iloc[0].items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    joblib.dump(MODEL, folder / "flowers.joblib")
    converted = to_onnx(MODEL, ROWS.to_numpy(dtype=np.float32))
    (folder / "Flowers_2.onnx").write_bytes(converted.SerializeToString())
    (folder / "weights.bin").write_bytes(b"\0" * 64)
    return folder


def command(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "modelyard.cli", *words]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False)


class TestScikitLearn:
    @pytest.fixture(scope="class")
    @classmethod
    def image(cls, yard: modelyard.Client, folder: Path) -> modelyard.Image:
        model = yard.models.register("flowers", folder / "flowers.joblib", sample_input=[FIRST])
        lines: list[str] = []
        image = yard.images.build(
            "flowers", models=[model], on_log=lambda line: lines.append(line.text)
        )
        assert any("adding what the joblib model needs: scikit-learn==" in line for line in lines)
        locked = {package.name: package.version for package in image.packages}
        assert locked["scikit-learn"] == model.framework_version
        return image

    def test_the_check_scored_the_sample(self, image: modelyard.Image) -> None:
        assert image.script is None
        assert image.requirements == ()
        assert image.check is not None
        assert image.check.answer == [0]

    def test_the_same_model_is_the_same_image(
        self, yard: modelyard.Client, image: modelyard.Image
    ) -> None:
        assert yard.images.build("flowers", models=["flowers:1"]).reference == image.reference

    def test_answers_are_the_models_own(
        self, yard: modelyard.Client, image: modelyard.Image
    ) -> None:
        yard.services.deploy("flowers", image=image)
        rows = ROWS.to_numpy().tolist()
        assert yard.services.score("flowers", rows) == MODEL.predict(ROWS).tolist()
        asked = {"data": ROWS.to_dict("records"), "method": "predict_proba"}
        assert yard.services.score("flowers", asked) == MODEL.predict_proba(ROWS).tolist()
        with pytest.raises(modelyard.ModelyardError, match="lacks the feature"):
            yard.services.score("flowers", [{"petal length (cm)": 1.0}])


class TestOnnx:
    def test_one_command_with_nothing_but_the_file(
        self, yard: modelyard.Client, folder: Path
    ) -> None:
        sample = json.dumps({"data": ROWS.to_numpy().tolist()})
        done = command("deploy", "Flowers_2.onnx", "--sample", sample, folder=folder)
        assert done.returncode == 0, done.stderr
        assert "adding what the onnx model needs: onnxruntime" in done.stderr
        scored = subprocess.run(
            ["sh", "-c", done.stdout], capture_output=True, text=True, check=True
        )
        assert json.loads(scored.stdout) == MODEL.predict(ROWS).tolist()
        service = yard.services.get("flowers-2")
        assert (service.image, service.models) == ("flowers-2:1", ("flowers-2:1",))

    def test_again_changes_nothing(self, yard: modelyard.Client, folder: Path) -> None:
        planned = yard.deploy("flowers-2", model=folder / "Flowers_2.onnx", plan=True)
        assert {step.action for step in planned.steps} == {Action.KEEP}


def test_what_cannot_be_served_so_is_refused_before_it_is_built(
    yard: modelyard.Client, folder: Path
) -> None:
    yard.models.register("weights", folder / "weights.bin")
    with pytest.raises(InvalidRequest, match="its format is not known") as refused:
        yard.images.build("weights", models=["weights"])
    assert "--script" in refused.value.hint
    assert command("image", "list", "--name", "weights", folder=folder).stdout.count("weights") == 0
