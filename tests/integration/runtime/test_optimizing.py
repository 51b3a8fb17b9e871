"""The search for a faster form of real models: what is kept, what is refused, how it answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import msgspec
import numpy as np
import pytest
import xgboost
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tests.integration.runtime.served_model import serving
from tests.integration.runtime.wire import ask, request

from modelyard_runtime.config import Model
from modelyard_runtime.frameworks import optimized, pickles
from modelyard_runtime.frameworks.matrix import Matrix
from modelyard_runtime.frameworks.optimized import GRAPH, INTERFACE
from modelyard_runtime.optimizing import gain
from modelyard_runtime.optimizing.probes import probes_for
from modelyard_runtime.optimizing.search import Candidate, Found, search
from modelyard_runtime.optimizing.trees import thresholds_of

FLOWERS = load_iris(as_frame=True)
ROWS = FLOWERS.data.to_numpy()
KINDS = FLOWERS.target.to_numpy()
NAMES = FLOWERS.target_names[KINDS]
CANCER, BAD = load_breast_cancer(return_X_y=True)
DIABETES, GROWTH = load_diabetes(return_X_y=True)
NARROW, WIDE, EXACT = "ONNX, 32 bits", "ONNX, 64 bits", "ONNX, thresholds of 64 bits"
BEHIND = "ONNX, trees of 32 bits behind 64"

pytestmark = pytest.mark.filterwarnings("ignore")  # converters warn of each other's versions


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gain, "_LONGEST", 0.02)


def look(model: Any, rows: Any = ROWS) -> Found:
    return search(model, pickles.served(model), np.asarray(rows[:3], dtype=np.float64), cores=2)


def candidate(found: Found, name: str) -> Candidate:
    return next(each for each in found.report.candidates if each.name == name)


def write(found: Found, folder: Path) -> Path:
    assert found.interface is not None
    folder.mkdir()
    (folder / GRAPH).write_bytes(found.graph)
    (folder / INTERFACE).write_bytes(msgspec.json.encode(found.interface))
    return folder


FOREST = RandomForestClassifier(60, random_state=0).fit(FLOWERS.data, NAMES)


@pytest.mark.parametrize(
    ("make", "rows"),
    [
        pytest.param(lambda: FOREST, ROWS, id="forest"),
        pytest.param(
            lambda: RandomForestRegressor(20).fit(DIABETES, GROWTH), DIABETES, id="regressor"
        ),
        pytest.param(lambda: GradientBoostingClassifier().fit(ROWS, KINDS), ROWS, id="boosting"),
        pytest.param(lambda: Ridge().fit(DIABETES, GROWTH), DIABETES, id="ridge"),
        pytest.param(
            lambda: make_pipeline(StandardScaler(), LogisticRegression()).fit(CANCER, BAD),
            CANCER,
            id="pipeline",
        ),
        pytest.param(
            lambda: MLPClassifier((16,), max_iter=50, random_state=0).fit(ROWS, KINDS),
            ROWS,
            id="network",
        ),
        pytest.param(
            lambda: xgboost.XGBClassifier(n_estimators=20).fit(ROWS, KINDS), ROWS, id="xgboost"
        ),
        pytest.param(
            lambda: xgboost.XGBRegressor(n_estimators=20).fit(DIABETES, GROWTH),
            DIABETES,
            id="xgboost-reg",
        ),
    ],
)
def test_a_form_of_32_bits_is_kept_of_what_computes_so(make: Callable[[], Any], rows: Any) -> None:
    found = look(make(), rows)
    narrow = candidate(found, NARROW)
    assert narrow.agreement is not None
    assert narrow.agreement.differing == 0
    assert found.report.kept is not None
    assert found.report.before is not None
    assert narrow.speed is not None


@pytest.mark.parametrize(
    ("make", "rows"),
    [
        pytest.param(
            lambda: HistGradientBoostingClassifier(max_iter=5).fit(CANCER, BAD),
            CANCER,
            id="histogram",
        ),
        pytest.param(
            lambda: HistGradientBoostingRegressor(max_iter=5).fit(DIABETES, GROWTH),
            DIABETES,
            id="histogram-regressor",
        ),
        pytest.param(
            lambda: lightgbm.LGBMClassifier(n_estimators=20, verbose=-1).fit(ROWS, KINDS),
            ROWS,
            id="lightgbm",
        ),
        pytest.param(
            lambda: lightgbm.LGBMRegressor(n_estimators=20, verbose=-1).fit(DIABETES, GROWTH),
            DIABETES,
            id="lightgbm-regressor",
        ),
    ],
)
def test_rounded_thresholds_are_found_and_exact_ones_kept(
    make: Callable[[], Any], rows: Any
) -> None:
    found = look(make(), rows)
    narrow = candidate(found, NARROW)
    assert narrow.agreement is not None
    assert narrow.agreement.differing > 0
    assert narrow.agreement.worst is not None
    assert "answered differently" in narrow.problem
    assert found.report.kept == EXACT


class TestWhatIsKept:
    @pytest.fixture(scope="class")
    @classmethod
    def found(cls) -> Found:
        return look(FOREST)

    def test_answers_are_those_of_the_model(self, found: Found, tmp_path: Path) -> None:
        served = optimized.load(Model("f", "1", "f/1"), str(write(found, tmp_path / "model")))
        original = pickles.served(FOREST)
        for name in ("predict", "predict_proba"):
            expected = original.methods[name](ROWS)
            got = served.methods[name](ROWS)
            assert got.dtype == expected.dtype
            if name == "predict":
                assert got.tolist() == expected.tolist()
            else:
                np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
        assert served.outputs == original.outputs
        assert served.output_schema == original.output_schema
        assert served.inputs.row_schema == original.inputs.row_schema

    def test_what_it_has_not_is_said(self, found: Found) -> None:
        assert found.report.methods == ("predict", "predict_proba")
        assert found.report.left_out == ("predict_log_proba",)

    def test_all_kinds_of_rows_were_compared(self, found: Found) -> None:
        kinds = found.report.probes
        assert list(kinds) == ["sample", "uniform", "normal", "thresholds", "extremes", "missing"]
        assert kinds["thresholds"] > 1000

    def test_it_is_the_same_every_time(self, found: Found) -> None:
        assert look(FOREST).graph == found.graph

    def test_a_replica_serves_it(self, found: Found, tmp_path: Path) -> None:
        folder = write(found, tmp_path / "model")
        model = {"name": "flowers", "version": "3", "path": "flowers/3", "format": "joblib"}
        with serving(folder, "joblib", models=[{**model, "optimized": True}]) as running:
            records = FLOWERS.data.iloc[::50].to_dict("records")
            body = json.dumps({"data": records}).encode()
            headers = {"content-type": "application/json"}
            sent = request("POST", "/score", body, headers, close=True)
            assert ask(running.socket, sent).json() == NAMES[::50].tolist()


class TestKinds:
    def test_classes_may_be_floats_or_truths(self) -> None:
        for classes in (KINDS.astype(float), KINDS > 0):
            model = LogisticRegression(max_iter=500).fit(ROWS, classes)
            found = look(model)
            assert found.report.kept is not None
            assert found.interface is not None
            assert np.dtype(found.interface.methods["predict"].dtype) == classes.dtype

    def test_a_booster_alone_predicts_probabilities(self) -> None:
        booster = lightgbm.LGBMClassifier(n_estimators=5, verbose=-1).fit(CANCER, BAD).booster_
        found = look(booster, CANCER)
        assert found.report.kept is None or found.interface is not None
        exact = candidate(found, EXACT)
        assert exact.agreement is not None
        assert exact.agreement.differing == 0

    def test_a_booster_of_xgboost_keeps_the_names_of_its_features(self) -> None:
        model = xgboost.XGBClassifier(n_estimators=20).fit(FLOWERS.data, KINDS)
        found = look(model)
        assert candidate(found, NARROW).agreement is not None
        assert model.get_booster().feature_names == list(FLOWERS.data.columns)

    def test_missing_values_go_where_the_forest_sends_them(self) -> None:
        found = look(FOREST)
        assert found.report.probes["missing"] > 0
        assert found.report.kept == NARROW

    def test_a_forest_that_learned_from_missing_values_is_not_tried(self) -> None:
        """Its thresholds may be infinite, on which the converter would never end."""
        rows = ROWS.copy()
        rows[::3, 2] = np.nan
        report = look(RandomForestClassifier(20, random_state=0).fit(rows, KINDS)).report
        assert report.kept is None
        assert "missing" in report.problem

    def test_a_scaler_has_to_be_as_exact_as_the_trees_behind_it_are_not(self) -> None:
        forest = RandomForestClassifier(20, random_state=0)
        found = look(make_pipeline(StandardScaler(), forest).fit(CANCER, BAD), CANCER)
        assert [each.name for each in found.report.candidates] == [NARROW, WIDE, BEHIND]
        assert found.report.kept == BEHIND

    def test_ties_of_votes_go_the_way_of_the_forest(self) -> None:
        """Half the votes each, summed in another order, must not elect another class."""
        forest = RandomForestClassifier(20, random_state=0)
        found = look(make_pipeline(StandardScaler(), forest).fit(CANCER, BAD), CANCER)
        last = candidate(found, BEHIND).agreement
        assert last is not None
        assert (last.differing, last.ties) == (0, 0)

    def test_a_pipeline_that_ends_in_a_booster_says_why_not(self) -> None:
        model = make_pipeline(StandardScaler(), xgboost.XGBClassifier(n_estimators=3))
        found = look(model.fit(ROWS, KINDS))
        assert found.report.kept is None
        assert all("cannot be converted" in each.problem for each in found.report.candidates)

    def test_a_model_of_frames_is_not_tried(self) -> None:
        steps = [("scale", StandardScaler(), ["petal width (cm)"])]
        model = make_pipeline(ColumnTransformer(steps), LogisticRegression())
        report = look(model.fit(FLOWERS.data, KINDS)).report
        assert report.problem == "only models that take rows of numbers are converted"
        assert report.candidates == ()

    def test_a_model_without_predict_is_not_tried(self) -> None:
        report = look(StandardScaler().fit(ROWS)).report
        assert report.problem == "only models that predict are converted"

    def test_what_cannot_be_converted_says_why(self) -> None:
        found = look(Stubborn().fit(ROWS, KINDS))
        assert found.report.kept is None
        assert all("cannot be converted" in each.problem for each in found.report.candidates)


class Stubborn(LogisticRegression):
    """A model that no converter knows."""


class TestProbes:
    def test_they_stand_on_thresholds_and_just_beside(self) -> None:
        model = RandomForestClassifier(3, random_state=0).fit(ROWS, KINDS)
        thresholds = thresholds_of(model)
        probes = probes_for(model, None, 4, thresholds, takes_missing=False)
        for feature, value in zip(thresholds.features[:5], thresholds.values[:5], strict=True):
            column = probes.rows[:, feature]
            assert value in column
            assert np.nextafter(value, np.inf) in column
            assert np.nextafter(value, -np.inf) in column
            assert float(np.float32(value)) in column
        assert np.isfinite(probes.rows).all()

    def test_they_are_the_same_every_time(self) -> None:
        first, second = (
            probes_for(FOREST, ROWS[:1], 4, thresholds_of(FOREST), takes_missing=True).rows
            for _ in range(2)
        )
        np.testing.assert_array_equal(first, second)

    def test_thresholds_behind_a_scaler_are_reached(self) -> None:
        forest = RandomForestClassifier(3, random_state=0)
        model = make_pipeline(StandardScaler(), forest).fit(CANCER, BAD)
        probes = probes_for(model, CANCER[:3], 30, thresholds_of(model), takes_missing=False)
        scaled = model[:-1].transform(probes.rows)
        thresholds = thresholds_of(model)
        near = np.abs(scaled[:, thresholds.features[0]] - thresholds.values[0]).min()
        assert near < 1e-9


def test_the_inputs_of_a_model_are_kept() -> None:
    found = look(FOREST)
    assert found.interface is not None
    rows, original = found.interface.rows(), pickles.served(FOREST).inputs
    assert isinstance(original, Matrix)
    assert rows.names == original.names
    assert rows.takes_missing == original.takes_missing
    assert rows.specs == original.specs
