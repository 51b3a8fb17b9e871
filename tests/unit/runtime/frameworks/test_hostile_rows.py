"""Whatever JSON comes as rows: an answer or a refusal with the right status, and nothing else."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from skl2onnx import to_onnx
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier
from tests.unit.runtime.frameworks.served import Asked, loaded, pickled, place

from modelyard_runtime.http.server import HttpError
from modelyard_runtime.tensors import SIZES, Tensor

FRAME = pd.DataFrame({"a": ["x", "y"] * 4, "b": [1.0, 2, 3, 4, 5, 6, 7, 8]})
KINDS = [0, 1] * 4
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["x", "y", "", "1.5", "nan", "\0", "ä"])
)
NAMES = st.sampled_from(["a", "b", "c", "data", "method", "X", ""])
ROWS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)
BODIES = ROWS | st.lists(st.lists(SCALARS, min_size=2, max_size=2), max_size=3)


def encoder() -> Any:
    chosen = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["a"]))
    return make_pipeline(chosen, LogisticRegression()).fit(FRAME, KINDS)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Asked]:
    def folder() -> Path:
        return tmp_path_factory.mktemp("model")

    numbers = np.column_stack([FRAME.b, FRAME.b**2])
    linear = LinearRegression().fit(numbers, KINDS)
    texts = make_pipeline(TfidfVectorizer(token_pattern="."), LogisticRegression())
    converted = folder()
    onnx = to_onnx(linear, numbers[:1].astype(np.float32))
    place(converted, "m.onnx").write_bytes(onnx.SerializeToString())
    return [
        pickled(folder(), linear),
        pickled(folder(), DecisionTreeClassifier().fit(numbers, KINDS)),
        pickled(folder(), encoder()),
        pickled(folder(), texts.fit(FRAME.a, KINDS)),
        loaded(converted, "onnx"),
    ]


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    """A tensor whose amount of data is right, as protocols let it through."""
    shape = tuple(draw(st.lists(st.integers(0, 3), max_size=3)))
    datatype = draw(st.sampled_from([*SIZES, "BYTES"]))
    name, count = draw(NAMES), math.prod(shape)
    if datatype == "BYTES":
        texts = st.sampled_from(["x", b"y", b"\xff", ""])
        return Tensor(name, datatype, shape, draw(st.lists(texts, min_size=count, max_size=count)))
    size = count * SIZES[datatype]
    return Tensor(name, datatype, shape, memoryview(draw(st.binary(min_size=size, max_size=size))))


@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore:Found unknown categories")
class TestWhatever:
    @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
    @given(body=BODIES)
    def test_json_is_answered_or_refused(self, models: list[Asked], body: Any) -> None:
        for asked in models:
            check(lambda asked=asked: json.loads(asked.scored(body)))

    @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
    @given(given=st.lists(tensors(), max_size=3))
    def test_tensors_are_answered_or_refused(
        self, models: list[Asked], given: list[Tensor]
    ) -> None:
        for asked in models:
            check(lambda asked=asked: asked.infer(*given))


def check(ask: Callable[[], Any]) -> None:
    refused = None
    try:
        ask()
    except HttpError as error:
        refused = error
    if refused is not None:
        assert refused.status in (400, 422)
        assert "\n" not in refused.message
        assert len(refused.message) < 1000
