"""MLflow's folders, as its flavors lay them out, loaded without MLflow."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
import yaml
from skl2onnx import to_onnx
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from tests.unit.runtime.frameworks.served import Asked, loaded, place

from modelyard_runtime.causes import StartFailed

FRAME: pd.DataFrame = load_iris(as_frame=True).data.set_axis(["sl", "sw", "pl", "pw"], axis=1)
KINDS: np.ndarray = load_iris().target
MODEL = LogisticRegression(max_iter=500).fit(FRAME, KINDS)
ROWS: list[list[float]] = FRAME.iloc[::10].to_numpy().tolist()
RECORDS: list[dict[str, Any]] = FRAME.iloc[::10].to_dict("records")
PYTHON = {"python_function": {"loader_module": "mlflow.sklearn", "predict_fn": "predict"}}

pytestmark = pytest.mark.filterwarnings("ignore:X does not have valid feature names")


def column(name: str, kind: str, required: bool = True) -> dict[str, Any]:
    return {"name": name, "type": kind, "required": required}


def described(folder: Path, flavors: dict[str, Any], *inputs: dict[str, Any]) -> Asked:
    """The model in a folder, with this description."""
    document: dict[str, Any] = {"flavors": flavors}
    if inputs:
        document["signature"] = {"inputs": json.dumps(inputs)}
    place(folder, "MLmodel").write_text(yaml.safe_dump(document))
    return loaded(folder, "mlflow")


def sklearn_flavor(folder: Path, model: Any = MODEL) -> dict[str, Any]:
    place(folder, "model.pkl").write_bytes(pickle.dumps(model))
    return {**PYTHON, "sklearn": {"pickled_model": "model.pkl", "serialization_format": "pickle"}}


class TestScikitLearn:
    def test_without_a_signature_rows_are_those_of_the_model(self, tmp_path: Path) -> None:
        asked = described(tmp_path, sklearn_flavor(tmp_path))
        assert asked.score(ROWS) == asked.score(RECORDS) == MODEL.predict(FRAME.iloc[::10]).tolist()
        assert asked.entry.batching is not None

    def test_the_signature_says_names_and_types(self, tmp_path: Path) -> None:
        columns = [column("sl", "double"), column("sw", "long"), column("pl", "double", False)]
        columns.append(column("pw", "float"))
        asked = described(tmp_path, sklearn_flavor(tmp_path), *columns)
        row = {"sl": 5.1, "sw": 3, "pl": 1.4, "pw": 0.2}
        assert asked.score([row]) == [0]
        assert [spec.datatype for spec in asked.signature.inputs] == [
            "FP64",
            "INT64",
            "FP64",
            "FP32",
        ]
        said = asked.refusal([{**row, "sw": 3.5}])
        assert said.startswith("422 The feature `sw`")
        assert "an integer" in said
        assert "`sw` is null" in asked.refusal([{**row, "sw": None}])
        assert "lacks the feature `pw`" in asked.refusal([{"sl": 5.1, "sw": 3}])
        # What may be absent is a missing value, which this model does not take.
        assert "Input X contains NaN" in asked.refusal([{"sl": 5.1, "sw": 3, "pw": 0.2}])

    def test_the_method_chosen_when_it_was_saved_comes_first(self, tmp_path: Path) -> None:
        flavors = sklearn_flavor(tmp_path)
        flavors["python_function"] = {**PYTHON["python_function"], "predict_fn": "predict_proba"}
        asked = described(tmp_path, flavors)
        assert asked.score(ROWS) == MODEL.predict_proba(FRAME.iloc[::10]).tolist()
        assert asked.score(ROWS, "method=predict") == MODEL.predict(FRAME.iloc[::10]).tolist()

    def test_the_folder_around_it_will_do(self, tmp_path: Path) -> None:
        flavors = sklearn_flavor(tmp_path)
        described(tmp_path, flavors)
        inner = place(tmp_path, "model")
        inner.mkdir()
        for name in ("MLmodel", "model.pkl"):
            place(tmp_path, name).rename(inner / name)
        assert loaded(tmp_path, "mlflow").score(ROWS[:1]) == [0]


def test_times_and_texts(tmp_path: Path) -> None:
    columns = [column("at", "datetime"), column("name", "string"), column("on", "boolean")]
    asked = described(tmp_path, sklearn_flavor(tmp_path, Shown()), *columns)
    row = {"at": "2026-01-31T12:00:00", "name": "a", "on": True}
    assert asked.score([row]) == ["2026-01-31 12:00:00 a True"]
    assert "must hold times" in asked.refusal([{**row, "at": "soon"}])
    assert "must be a string" in asked.refusal([{**row, "name": 5}])
    assert "a boolean" in asked.refusal([{**row, "on": "yes"}])


class Shown:
    """Answers with the row that it got."""

    feature_names_in_ = np.array(["at", "name", "on"], dtype=object)
    n_features_in_ = 3

    def predict(self, rows: pd.DataFrame) -> Any:
        return np.array([" ".join(map(str, row)) for row in rows.itertuples(index=False)])


def test_onnx(tmp_path: Path) -> None:
    converted = to_onnx(MODEL, FRAME.to_numpy(dtype=np.float32)[:1])
    place(tmp_path, "model.onnx").write_bytes(converted.SerializeToString())
    asked = described(tmp_path, {**PYTHON, "onnx": {"data": "model.onnx"}})
    assert asked.score(ROWS) == MODEL.predict(FRAME.iloc[::10]).tolist()


def test_xgboost(tmp_path: Path) -> None:
    model = xgboost.XGBClassifier(n_estimators=2).fit(FRAME, KINDS)
    model.save_model(place(tmp_path, "model.ubj"))
    flavor = {"data": "model.ubj", "model_class": "xgboost.sklearn.XGBClassifier"}
    asked = described(tmp_path, {**PYTHON, "xgboost": flavor})
    assert asked.score(ROWS) == model.predict(FRAME.iloc[::10]).tolist()


def test_lightgbm(tmp_path: Path) -> None:
    data = lightgbm.Dataset(FRAME, KINDS)
    model = lightgbm.train({"objective": "regression", "verbose": -1}, data, 2)
    model.save_model(place(tmp_path, "model.lgb"))
    flavor = {"data": "model.lgb", "model_class": "lightgbm.basic.Booster"}
    asked = described(tmp_path, {**PYTHON, "lightgbm": flavor})
    assert asked.score(RECORDS) == model.predict(FRAME.iloc[::10]).tolist()


class TestFailure:
    def test_without_mlflow_other_flavors_need_it(self, tmp_path: Path) -> None:
        with pytest.raises(StartFailed) as failed:
            described(tmp_path, PYTHON)
        cause = failed.value.cause
        assert (cause.code, "mlflow" in cause.fix) == ("package_missing", True)

    def test_nothing_that_can_be_scored(self, tmp_path: Path) -> None:
        with pytest.raises(StartFailed, match="no flavor"):
            described(tmp_path, {"mleap": {}})

    def test_no_description(self, tmp_path: Path) -> None:
        place(tmp_path, "model.pkl").touch()
        with pytest.raises(StartFailed, match="no file `MLmodel`"):
            loaded(tmp_path, "mlflow")
