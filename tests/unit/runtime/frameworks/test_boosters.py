"""Boosters in the files of XGBoost and LightGBM answer what their library's `predict` gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.datasets import load_iris
from tests.unit.runtime.frameworks.served import Asked, loaded, pickled, place

from modelyard_runtime.causes import StartFailed

FRAME: pd.DataFrame = load_iris(as_frame=True).data.set_axis(["sl", "sw", "pl", "pw"], axis=1)
KINDS: np.ndarray = load_iris().target
SAMPLE = FRAME.iloc[::10]
ROWS: list[list[float]] = SAMPLE.to_numpy().tolist()


def trees(objective: str, kinds: Any = KINDS, **options: Any) -> xgboost.Booster:
    parameters = {"objective": objective, "verbosity": 0, **options}
    return xgboost.train(parameters, xgboost.DMatrix(FRAME, label=kinds), 3)


def xgb(folder: Path, booster: Any, name: str = "m.ubj") -> Asked:
    booster.save_model(place(folder, name))
    return loaded(folder, "xgboost", "xgboost")


def equal(found: Any, expected: Any) -> bool:
    return np.array_equal(np.array(found, dtype=expected.dtype), expected)


class TestXgboost:
    @pytest.mark.parametrize("name", ["m.json", "m.ubj"])
    @pytest.mark.parametrize("booster", ["gbtree", "dart", "gblinear"])
    def test_predicts_what_the_booster_does(self, tmp_path: Path, name: str, booster: str) -> None:
        model = trees("binary:logistic", KINDS == 1, booster=booster)
        asked = xgb(tmp_path, model, name)
        expected = model.predict(xgboost.DMatrix(SAMPLE))
        assert equal(asked.score(ROWS), expected)
        assert equal(asked.score(SAMPLE.to_dict("records")), expected)
        scores = np.array(asked.score(ROWS, "method=predict_proba"), dtype=np.float32)
        assert equal(scores[:, 1], expected)

    def test_regression_has_no_probabilities(self, tmp_path: Path) -> None:
        model = trees("reg:squarederror")
        asked = xgb(tmp_path, model)
        assert equal(asked.score(ROWS), model.predict(xgboost.DMatrix(SAMPLE)))
        assert "must be one of predict." in asked.refusal(ROWS, "method=predict_proba")

    @pytest.mark.parametrize("kinds", [KINDS, KINDS == 1])
    def test_a_saved_classifier_predicts_classes(self, tmp_path: Path, kinds: Any) -> None:
        model = xgboost.XGBClassifier(n_estimators=3).fit(FRAME, kinds.astype(int))
        asked = xgb(tmp_path, model)
        assert asked.score(ROWS) == model.predict(SAMPLE).tolist()
        assert equal(asked.score(ROWS, "method=predict_proba"), model.predict_proba(SAMPLE))

    def test_null_is_a_missing_value(self, tmp_path: Path) -> None:
        model = trees("reg:squarederror")
        holed = SAMPLE.assign(sw=np.nan)
        records = [{**row, "sw": None} for row in SAMPLE.to_dict("records")]
        assert equal(xgb(tmp_path, model).score(records), model.predict(xgboost.DMatrix(holed)))

    def test_a_number_beyond_32_bits_is_refused(self, tmp_path: Path) -> None:
        asked = xgb(tmp_path, trees("reg:squarederror"))
        beyond = [*ROWS[0][:2], 1e39, *ROWS[0][3:]]
        assert asked.refusal([ROWS[0], beyond]).startswith("422 Row 1: the feature `")
        assert asked.refusal([[*beyond[:3], None]]).endswith("` is beyond float32.")

    def test_categories_need_a_script(self, tmp_path: Path) -> None:
        frame = pd.DataFrame({"colour": pd.Categorical(["red", "blue"] * 5)})
        matrix = xgboost.DMatrix(frame, label=[0, 1] * 5, enable_categorical=True)
        booster = xgboost.train({"verbosity": 0}, matrix, 1)
        with pytest.raises(StartFailed, match="categorical features"):
            xgb(tmp_path, booster)

    def test_a_pickled_booster(self, tmp_path: Path) -> None:
        model = trees("reg:squarederror")
        asked = pickled(tmp_path, model)
        assert equal(asked.score(ROWS), model.predict(xgboost.DMatrix(SAMPLE)))


class TestLightgbm:
    def booster(self, objective: str, kinds: Any, frame: Any = FRAME, **more: Any) -> Any:
        options = {"objective": objective, "verbose": -1, **more}
        return lightgbm.train(options, lightgbm.Dataset(frame, kinds), 3)

    def saved(self, folder: Path, booster: Any) -> Asked:
        booster.save_model(place(folder, "m.txt"))
        return loaded(folder, "lightgbm", "lightgbm")

    def test_predicts_what_the_booster_does(self, tmp_path: Path) -> None:
        model = self.booster("binary", KINDS == 1)
        asked = self.saved(tmp_path, model)
        expected = model.predict(SAMPLE)
        assert asked.score(SAMPLE.to_dict("records")) == expected.tolist()
        scores = asked.score(ROWS, "method=predict_proba")
        assert scores == [[1 - score, score] for score in expected.tolist()]

    def test_probabilities_of_several_classes(self, tmp_path: Path) -> None:
        model = self.booster("multiclass", KINDS, num_class=3)
        asked = self.saved(tmp_path, model)
        expected = model.predict(SAMPLE).tolist()
        assert asked.score(ROWS) == asked.score(ROWS, "method=predict_proba") == expected

    def test_regression_without_names(self, tmp_path: Path) -> None:
        model = self.booster("regression", KINDS, FRAME.to_numpy())
        asked = self.saved(tmp_path, model)
        assert asked.score(ROWS) == model.predict(SAMPLE.to_numpy()).tolist()
        assert "by name" in asked.refusal(SAMPLE.to_dict("records"))
        assert "must be one of predict." in asked.refusal(ROWS, "method=predict_proba")

    def test_categories_of_pandas_need_a_script(self, tmp_path: Path) -> None:
        frame = FRAME.assign(colour=pd.Categorical(["red", "blue"] * 75))
        with pytest.raises(StartFailed, match="categorical columns"):
            self.saved(tmp_path, self.booster("regression", KINDS, frame))
