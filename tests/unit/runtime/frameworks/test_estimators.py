"""Estimators of scikit-learn: answers are bit for bit their own, and what does not fit is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from tests.unit.runtime.frameworks.served import Asked, pickled, refusal

from modelyard_runtime.http.server import Request
from modelyard_runtime.signature import Table
from modelyard_runtime.tensors import Tensor, TensorSpec

pytestmark = pytest.mark.filterwarnings("ignore:X does not have valid feature names")

FRAME: pd.DataFrame = load_iris(as_frame=True).data.set_axis(["sl", "sw", "pl", "pw"], axis=1)
DATA: np.ndarray = FRAME.to_numpy()
KINDS: np.ndarray = load_iris().target
ROWS: list[list[float]] = DATA[::10].tolist()


def own(model: Any, method: str, rows: Any = DATA[::10]) -> bytes:
    """What the model itself answers, as JSON of the same doubles."""
    return json.dumps(getattr(model, method)(rows).tolist(), separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("model", "method"),
    [
        (LogisticRegression(max_iter=500), "predict"),
        (LogisticRegression(max_iter=500), "predict_proba"),
        (LogisticRegression(max_iter=500), "predict_log_proba"),
        (LogisticRegression(max_iter=500), "decision_function"),
        (make_pipeline(StandardScaler(), LogisticRegression()), "predict_proba"),
        (RandomForestClassifier(5, random_state=1), "predict_proba"),
        (HistGradientBoostingClassifier(max_iter=2), "predict_proba"),
        (LinearRegression(), "predict"),
        (KMeans(3, n_init=1, random_state=1), "predict"),
        (IsolationForest(n_estimators=5, random_state=1), "score_samples"),
        (StandardScaler(), "transform"),
    ],
)
def test_answers_are_the_models_own(tmp_path: Path, model: Any, method: str) -> None:
    model.fit(DATA, KINDS)
    asked = pickled(tmp_path, model)
    answer = json.loads(asked.scored(ROWS, f"method={method}"))
    assert answer == json.loads(own(model, method))


@pytest.mark.parametrize("kind", [xgboost.XGBClassifier, lightgbm.LGBMClassifier])
def test_objects_that_follow_scikit_learn(tmp_path: Path, kind: Any) -> None:
    quiet = {"verbosity": 0} if kind is xgboost.XGBClassifier else {"verbose": -1}
    model = kind(n_estimators=3, **quiet).fit(FRAME, KINDS)
    asked = pickled(tmp_path, model)
    assert asked.score(ROWS) == model.predict(FRAME.iloc[::10]).tolist()
    records = FRAME.iloc[::10].to_dict("records")
    found = np.array(asked.score(records, "method=predict_proba"))
    expected = model.predict_proba(FRAME.iloc[::10])
    assert np.array_equal(found.astype(expected.dtype), expected)


class TestByName:
    @pytest.fixture(scope="class")
    @classmethod
    def asked(cls, tmp_path_factory: pytest.TempPathFactory) -> Asked:
        names = np.array(["setosa", "versicolor", "virginica"])
        model = LogisticRegression(max_iter=500).fit(FRAME, names[KINDS])
        return pickled(tmp_path_factory.mktemp("model"), model)

    def test_records_may_be_in_any_order(self, asked: Asked) -> None:
        assert asked.score([{"pw": 0.2, "sl": 5.1, "pl": 1.4, "sw": 3.5}]) == ["setosa"]

    def test_one_tensor_for_each_feature(self, asked: Asked) -> None:
        columns = zip(["pw", "sl", "pl", "sw"], [0.2, 5.1, 1.4, 3.5], strict=True)
        tensors = [Tensor(name, "FP64", (1,), [value]) for name, value in columns]
        (found,) = asked.infer(*tensors)
        assert (found.name, found.datatype, found.data) == ("predict", "BYTES", ["setosa"])
        said = refusal(lambda: asked.infer(*tensors[:3]))
        assert said == "422 The input `sw` is missing."

    def test_a_table_in_any_order(self, asked: Asked) -> None:
        table = Table(("pw", "sl", "pl", "sw"), [[0.2, 5.1, 1.4, 3.5]])
        assert asked.invoke(table) == ["setosa"]

    @pytest.mark.parametrize(
        ("rows", "said"),
        [
            ([{"sl": 1, "sw": 1, "pl": 1}], "422 Row 0 lacks the feature `pw`."),
            (
                [{"sl": 1, "sw": 1, "pl": 1, "pw": 1, "x": 1}],
                "422 Row 0: the model has no feature `x`; it has `sl`, `sw`, `pl`, `pw`.",
            ),
            (
                [{"sl": 1, "sw": 1, "pl": 1, "pw": 1}, [1, 2, 3, 4]],
                "422 Row 1 must be an object, like the rows before it.",
            ),
            (
                [[1, 2, 3, 4], {"sl": 1}],
                "422 Row 1 must be a list of 4 values, one for each feature.",
            ),
            ([[1, 2, 3, "a"]], "422 Row 0: the feature `pw` must be a number, not text."),
            (
                [[1, 2, 3, None]],
                "422 Row 0: the feature `pw` is null, and this model takes no missing values.",
            ),
            ([[1, 2, 3]], "422 Row 0 has 3 values; the model takes 4 features."),
            ([[1, 2, 3, 4], [1]], "422 Row 1 has 1 values; the model takes 4 features."),
            ([1, 2, 3, 4], "422 Row 0 must be a list of 4 values, one for each feature."),
            ([[1, 2, 3, [4]]], "422 Row 0: the feature `pw` must be a number, not an array."),
            ([[1, 2, 3, {}]], "422 Row 0: the feature `pw` must be a number, not an object."),
            ([], "422 There are no rows to score."),
        ],
    )
    def test_what_is_wrong_is_named(self, asked: Asked, rows: Any, said: str) -> None:
        assert asked.refusal(rows) == said
        assert asked.refusal({"data": rows}) == said

    def test_is_described(self, asked: Asked) -> None:
        assert asked.signature.inputs == (TensorSpec("input", "FP64", (-1, 4)),)
        assert asked.signature.outputs == (TensorSpec("predict", "BYTES", (-1,)),)
        schema = asked.signature.input_schema["properties"]
        assert list(schema["data"]["items"]["properties"]) == ["sl", "sw", "pl", "pw"]
        assert schema["method"]["default"] == "predict"
        assert asked.signature.output_schema["items"] == {"type": "string"}


class TestMissing:
    @pytest.mark.parametrize(
        "model",
        [
            HistGradientBoostingClassifier(max_iter=2),
            make_pipeline(SimpleImputer(), LogisticRegression(max_iter=500)),
            GridSearchCV(HistGradientBoostingClassifier(), {"max_iter": [2]}, cv=2),
            VotingClassifier([("a", HistGradientBoostingClassifier(max_iter=2))], voting="soft"),
        ],
    )
    def test_null_is_nan_where_the_model_knows_what_to_do(self, tmp_path: Path, model: Any) -> None:
        asked = pickled(tmp_path, model.fit(DATA, KINDS))
        expected = model.predict_proba([[5.1, np.nan, 1.4, 0.2]]).tolist()
        assert asked.score([[5.1, None, 1.4, 0.2]], "method=predict_proba") == expected

    def test_is_refused_behind_a_step_that_lets_it_through(self, tmp_path: Path) -> None:
        model = make_pipeline(StandardScaler(), LogisticRegression()).fit(DATA, KINDS)
        asked = pickled(tmp_path, model)
        assert "takes no missing values" in asked.refusal([[1, None, 1, 1]])

    def test_is_refused_in_binary_tensors(self, tmp_path: Path) -> None:
        asked = pickled(tmp_path, LinearRegression().fit(DATA, KINDS))
        data = np.array([[1, 2, 3, 4], [1, 2, np.inf, 4]]).tobytes()
        said = refusal(lambda: asked.infer(Tensor("x", "FP64", (2, 4), memoryview(data))))
        assert said.startswith("422 Row 1: the feature 2 is not a finite number")


class TestColumns:
    @pytest.fixture
    def asked(self, tmp_path: Path) -> Asked:
        frame = FRAME[["sl"]].assign(colour=np.where(KINDS == 1, "red", "blue"))
        encoder = make_column_transformer((OneHotEncoder(), ["colour"]), (StandardScaler(), ["sl"]))
        self.model = make_pipeline(encoder, LogisticRegression()).fit(frame, KINDS)
        return pickled(tmp_path, self.model)

    def test_of_several_types_are_found_by_name(self, asked: Asked) -> None:
        rows = [{"colour": "red", "sl": 5}, {"colour": "blue", "sl": 7.1}]
        expected = self.model.predict_proba(pd.DataFrame(rows)).tolist()
        assert asked.score(rows, "method=predict_proba") == expected
        lists = [[row["sl"], row["colour"]] for row in rows]
        assert asked.score(lists, "method=predict_proba") == expected
        tensors = (Tensor("colour", "BYTES", (1,), ["red"]), Tensor("sl", "FP32", (1, 1), [5.0]))
        (found,) = asked.infer(*tensors, method="predict_proba")
        assert found.elements() == pytest.approx(expected[0], rel=1e-12)

    def test_an_unknown_category_is_told(self, asked: Asked) -> None:
        said = asked.refusal([{"colour": "green", "sl": 5}])
        assert said.startswith("422 The model does not take these rows: Found unknown categories")

    def test_must_hold_single_values(self, asked: Asked) -> None:
        assert "the feature `sl`" in asked.refusal([{"colour": "red", "sl": [5]}])

    def test_of_one_type_are_joined(self, asked: Asked) -> None:
        bodies = [[{"colour": "red", "sl": 5.5}], [{"colour": "blue", "sl": 4.5}]]
        assert asked.together(bodies) == [asked.score(body) for body in bodies]

    def test_of_other_types_are_not(self, asked: Asked) -> None:
        assert asked.entry.batching is not None
        whole, half, none = (
            asked.entry.batching.key({"rows": rows, "method": "predict"})
            for rows in (pd.DataFrame({"colour": ["red"], "sl": [sl]}) for sl in (5, 5.5, None))
        )
        assert len({whole, half, none}) == 3


def test_texts(tmp_path: Path) -> None:
    model = make_pipeline(TfidfVectorizer(), LogisticRegression())
    model.fit(["good day", "bad night", "good", "bad"], [1, 0, 1, 0])
    asked = pickled(tmp_path, model)
    assert asked.score(["good", "so bad"]) == [1, 0]
    assert asked.score({"data": ["good"]}) == [1]
    assert asked.refusal(["good", 1]) == "422 Row 1 must be text, not an integer."
    assert asked.invoke(Table(("text",), [["good"]])) == [1]
    (found,) = asked.infer(Tensor("t", "BYTES", (2, 1), ["good", "bad"]))
    assert found.elements() == [1, 0]
    assert asked.together([["good"], ["bad", "good"]]) == [[1], [0, 1]]


def test_several_outputs_are_a_record_for_each_row(tmp_path: Path) -> None:
    model = MultiOutputClassifier(LogisticRegression(max_iter=500))
    model.fit(DATA, np.column_stack([KINDS == 0, KINDS == 1]))
    asked = pickled(tmp_path, model)
    assert asked.score(ROWS) == model.predict(ROWS).tolist()
    scores = asked.score(ROWS, "method=predict_proba")
    first, second = model.predict_proba(ROWS)
    expected = zip(first.tolist(), second.tolist(), strict=True)
    assert scores == [{"predict_proba_0": a, "predict_proba_1": b} for a, b in expected]


class Odd(ClassifierMixin, BaseEstimator):
    """A classifier that is not from scikit-learn."""

    def fit(self, rows: Any, kinds: Any) -> Odd:
        self.n_features_in_ = 2
        return self

    def predict(self, rows: Any) -> Any:
        return [f"{a}-{b}" for a, b in rows]


def test_a_class_of_ones_own_gets_the_values_as_they_are(tmp_path: Path) -> None:
    asked = pickled(tmp_path, Odd().fit(None, None))
    assert asked.score([["a", 1]]) == ["a-1"]
    assert asked.score([[1.5, 1]]) == ["1.5-1.0"]


class TestMethod:
    @pytest.fixture(scope="class")
    @classmethod
    def asked(cls, tmp_path_factory: pytest.TempPathFactory) -> Asked:
        model = LogisticRegression(max_iter=500).fit(DATA, KINDS)
        return pickled(tmp_path_factory.mktemp("model"), model)

    def test_is_a_field_of_the_query_or_the_body(self, asked: Asked) -> None:
        by_query = asked.score(ROWS, "method=predict_proba")
        assert asked.score({"data": ROWS, "method": "predict_proba"}) == by_query
        both = asked.score({"data": ROWS, "method": "predict_proba"}, "method=predict")
        assert both == by_query

    @pytest.mark.parametrize("name", ["fit", "__class__", "", 3, None, ["predict"]])
    def test_must_be_one_that_is_offered(self, asked: Asked, name: Any) -> None:
        if name is None:
            assert asked.score({"data": ROWS, "method": None}) == asked.score(ROWS)
        else:
            said = asked.refusal({"data": ROWS, "method": name})
            assert said.startswith("422 `method` must be one of predict, predict_proba")

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            ("rows", "422 The rows must be a list."),
            (5, "422 The rows must be a list."),
            ({"data": {}}, "422 The rows must be a list."),
            ({"rows": []}, "422 The body has no `data`."),
            ({"data": [], "colour": 1}, "422 `colour` is not known beside `data`"),
        ],
    )
    def test_other_bodies_are_refused(self, asked: Asked, body: Any, said: str) -> None:
        assert asked.refusal(body).startswith(said)

    @pytest.mark.parametrize("query", ["methd=predict_proba", "method=predict&methd="])
    def test_an_unknown_field_of_the_query_is_named(self, asked: Asked, query: str) -> None:
        said = "422 `methd` is not known in the query; only `method` is."
        assert asked.refusal(ROWS, query) == said

    def test_the_query_of_a_get_is_the_body(self, asked: Asked) -> None:
        request = Request("GET", "/score", f"data={json.dumps(ROWS)}&method=predict", [], b"")
        assert len(asked.signature.from_request(request)["rows"]) == len(ROWS)

    @pytest.mark.parametrize("body", [{"sl": 1, "sw": 2}, {"data": {"sl": 1}}])
    def test_a_single_record_is_told_to_be_a_list(self, asked: Asked, body: Any) -> None:
        assert asked.refusal(body).endswith("; a single record is a list of one.")

    def test_deep_rows_are_refused(self, asked: Asked) -> None:
        rows: Any = 1
        for _ in range(200):
            rows = [rows]
        assert asked.refusal(rows).startswith("422 Row 0")


class TestTogether:
    @pytest.mark.parametrize("method", ["predict", "predict_proba"])
    def test_answers_are_those_of_all_rows_in_one_call(self, tmp_path: Path, method: str) -> None:
        model = RandomForestClassifier(5, random_state=1).fit(DATA, KINDS)
        asked = pickled(tmp_path, model)
        bodies = [ROWS[:1], ROWS[1:4], {"data": ROWS[4:]}]
        parts = asked.together(bodies, f"method={method}")
        assert [row for part in parts for row in part] == json.loads(own(model, method))
        assert parts == [asked.score(body, f"method={method}") for body in bodies]

    def test_methods_are_not_joined(self, tmp_path: Path) -> None:
        batching = pickled(tmp_path, LinearRegression().fit(DATA, KINDS)).entry.batching
        assert batching is not None
        rows = np.zeros((1, 4))
        keys = {batching.key({"rows": rows, "method": name}) for name in ("predict", "transform")}
        assert len(keys) == 2
