"""Cells of a data frame are held against what the fitted steps tell of their columns."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from tests.unit.runtime.frameworks.served import Asked, pickled

FRAME = pd.DataFrame(
    {
        "city": ["Bern", "Rome", "Bern", "Oslo"],
        "age": [20.0, 30.0, 40.0, 50.0],
        "note": ["good day", "bad day", "good", "bad"],
        "zone": [1, 2, 1, 2],
        "free": ["a", "b", "a", "b"],
    }
)
GOOD: dict[str, Any] = {"city": "Bern", "age": 33, "note": "good", "zone": 2, "free": "a"}


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Asked:
    texts = make_pipeline(
        SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")
    )
    columns = make_column_transformer(
        (texts, ["city"]),
        (make_pipeline(SimpleImputer(), StandardScaler()), [1]),
        (TfidfVectorizer(), "note"),
        (OneHotEncoder(handle_unknown="ignore"), slice(3, 4)),
        (FunctionTransformer(lengths), ["free"]),
    )
    model = make_pipeline(columns, LogisticRegression()).fit(FRAME, ["no", "yes", "no", "yes"])
    return pickled(tmp_path_factory.mktemp("model"), model)


def lengths(frame: Any) -> Any:
    return frame.map(lambda value: len(str(value))).to_numpy()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"city": 5}, "the feature `city` must be text, not an integer."),
        ({"city": True}, "the feature `city` must be text, not a boolean."),
        ({"age": "33"}, "the feature `age` must be a number, not text."),
        ({"note": 5}, "the feature `note` must be text, not an integer."),
        ({"note": None}, "the feature `note` must be text, not null."),
        ({"zone": "2"}, "the feature `zone` must be a number, not text."),
    ],
)
def test_a_wrong_cell_is_refused_alone_and_in_company(
    asked: Asked, wrong: dict[str, Any], said: str
) -> None:
    assert asked.refusal([{**GOOD, **wrong}]) == f"422 Row 0: {said}"
    assert asked.refusal([GOOD, {**GOOD, **wrong}]) == f"422 Row 1: {said}"


@pytest.mark.parametrize("cell", [{"city": None}, {"age": None}, {"zone": 2.0}, {"free": 5}])
def test_what_the_steps_can_handle_is_scored(asked: Asked, cell: dict[str, Any]) -> None:
    alone = asked.score([{**GOOD, **cell}])
    assert alone == asked.score([GOOD, {**GOOD, **cell}])[1:]


def test_the_kinds_are_described(asked: Asked) -> None:
    described = asked.signature.input_schema["properties"]["data"]["items"]["properties"]
    assert described["note"] == {"type": ["string"]}
    assert described["age"] == {"type": ["number", "boolean", "null"]}
    assert described["free"] == {}
    assert [spec.datatype for spec in asked.signature.inputs] == [
        "BYTES",
        "FP64",
        "BYTES",
        "FP64",
        "BYTES",
    ]
