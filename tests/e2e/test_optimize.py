"""`image build --optimize`: a real search, and a service that answers as the model does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import joblib
import pytest
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier

import modelyard
from modelyard.errors import InvalidRequest

FLOWERS = load_iris(as_frame=True)
FOREST = RandomForestClassifier(30, random_state=0).fit(
    FLOWERS.data, FLOWERS.target_names[FLOWERS.target]
)
ROWS = FLOWERS.data.iloc[::10]


def test_a_forest_gets_faster_and_answers_the_same(yard: modelyard.Client, tmp_path: Path) -> None:
    joblib.dump(FOREST, tmp_path / "forest.joblib")
    records = ROWS.to_dict("records")
    yard.models.register("forest", tmp_path / "forest.joblib", sample_input=records[:1])
    command = [sys.executable, "-m", "modelyard.cli", "image", "build", "forest"]
    built = subprocess.run(
        [*command, "--model", "forest", "--optimize", "-o", "json"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "kept ONNX, 32 bits: one row" in built.stderr
    image = yard.images.get("forest")
    assert json.loads(built.stdout)["optimization"]["kept"] == "ONNX, 32 bits"
    report = image.optimization
    assert report is not None
    assert report.kept == "ONNX, 32 bits"
    assert report.before is not None
    assert report.after is not None
    assert report.original is not None
    assert report.optimized is not None
    assert "scikit-learn" not in {package.name for package in image.packages}

    yard.services.deploy("forest", image=image)
    assert yard.services.score("forest", records) == FOREST.predict(ROWS).tolist()
    assert yard.services.score("forest", ROWS.to_numpy().tolist()) == FOREST.predict(ROWS).tolist()

    again = yard.images.build("forest", models=["forest"], optimize=True)
    assert again.reference == image.reference


def test_a_script_cannot_be_optimized(yard: modelyard.Client, tmp_path: Path) -> None:
    (tmp_path / "answer.txt").write_text("42")
    (tmp_path / "score.py").write_text("def run(data): ...\n")
    yard.models.register("answer", tmp_path / "answer.txt")
    with pytest.raises(InvalidRequest, match="only the script knows"):
        yard.images.build("answer", models=["answer"], script=tmp_path / "score.py", optimize=True)
