"""ONNX models: classifiers of converters, plain networks, and what the model says of its inputs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from tests.unit.runtime.frameworks.served import Asked, loaded, place, refusal

from modelyard_runtime.causes import StartFailed
from modelyard_runtime.tensors import Tensor, TensorSpec

DATA, KINDS = load_iris(return_X_y=True)
ROWS: list[list[float]] = DATA[::10].tolist()


def saved(folder: Path, model: Any) -> Asked:
    place(folder, "model.onnx").write_bytes(model.SerializeToString())
    return loaded(folder, "onnx")


def network(
    nodes: Sequence[Any], inputs: dict[str, tuple[int, list[Any]]], outputs: dict[str, Any]
) -> Any:
    """A model of a few operators."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, *spec) for name, spec in inputs.items()],
        [helper.make_tensor_value_info(name, *spec) for name, spec in outputs.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


class TestClassifier:
    @pytest.mark.parametrize("zipmap", [True, False])
    @pytest.mark.parametrize("names", [[0, 1, 2], ["a", "b", "c"]])
    def test_predicts_labels_and_probabilities(
        self, tmp_path: Path, zipmap: bool, names: list[Any]
    ) -> None:
        model = LogisticRegression(max_iter=500).fit(DATA, np.array(names)[KINDS])
        converted = to_onnx(
            model, DATA[:1].astype(np.float32), options={id(model): {"zipmap": zipmap}}
        )
        asked = saved(tmp_path, converted)
        assert asked.score(ROWS) == model.predict(ROWS).tolist()
        found = asked.score(ROWS, "method=predict_proba")
        np.testing.assert_allclose(found, model.predict_proba(ROWS), atol=1e-5)
        (label,) = asked.signature.outputs
        assert label.datatype == ("INT64" if names[0] == 0 else "BYTES")

    def test_answers_are_joined_and_split(self, tmp_path: Path) -> None:
        model = LogisticRegression(max_iter=500).fit(DATA, KINDS)
        asked = saved(tmp_path, to_onnx(model, DATA[:1].astype(np.float32)))
        bodies = [ROWS[:2], ROWS[2:3]]
        assert asked.together(bodies) == [asked.score(body) for body in bodies]
        scores = asked.together(bodies, "method=predict_proba")
        assert [len(part) for part in scores] == [2, 1]


def test_a_number_beyond_the_inputs_type_is_refused(tmp_path: Path) -> None:
    model = LinearRegression().fit(DATA, KINDS)
    asked = saved(tmp_path, to_onnx(model, DATA[:1].astype(np.float32)))
    rows = [ROWS[0], [1.0, 1e39, 1.0, 1.0]]
    assert asked.refusal(rows) == "422 X[1][1]: is beyond float32"
    doubles = np.array(rows, dtype="<f8")
    tensor = Tensor("any", "FP64", doubles.shape, memoryview(doubles.tobytes()))
    assert refusal(lambda: asked.infer(tensor)) == "422 X[1][1]: is beyond float32"


def test_null_is_nan(tmp_path: Path) -> None:
    model = LinearRegression().fit(DATA, KINDS)
    asked = saved(tmp_path, to_onnx(model, DATA[:1].astype(np.float32)))
    assert asked.score([[None, 1.0, 1.0, 1.0]]) == [[None]]


def test_regressor_answers_with_the_models_own_output(tmp_path: Path) -> None:
    model = LinearRegression().fit(DATA, KINDS)
    asked = saved(tmp_path, to_onnx(model, DATA[:1].astype(np.float32)))
    np.testing.assert_allclose(np.ravel(asked.score(ROWS)), model.predict(ROWS), atol=1e-4)
    rows = np.array(ROWS, dtype="<f4")
    (found,) = asked.infer(Tensor("any", "FP32", rows.shape, memoryview(rows.tobytes())))
    assert (found.name, found.shape) == ("variable", (len(ROWS), 1))


def test_columns_are_inputs_by_name(tmp_path: Path) -> None:
    frame = pd.DataFrame({"colour": ["red", "blue"] * 4, "size": [1.0, 2, 3, 4, 5, 6, 7, 8]})
    encoder = make_column_transformer((OneHotEncoder(), ["colour"]), remainder="passthrough")
    model = make_pipeline(encoder, LogisticRegression()).fit(frame, [0, 1] * 4)
    types = [("colour", StringTensorType([None, 1])), ("size", FloatTensorType([None, 1]))]
    asked = saved(tmp_path, to_onnx(model, initial_types=types, options={"zipmap": False}))
    assert asked.score([{"size": 2, "colour": "blue"}, {"size": 1, "colour": "red"}]) == [1, 0]
    assert asked.score([["blue", 2]]) == [1]
    assert (
        asked.refusal([{"size": "x", "colour": "red"}])
        == "422 size[0]: expected a number, got text"
    )
    assert asked.refusal([{"size": 1}]) == "422 Row 0 lacks the feature `colour`."
    tensors = (Tensor("size", "FP64", (1, 1), [2.0]), Tensor("colour", "BYTES", (1, 1), ["blue"]))
    assert asked.infer(*tensors)[0].elements() == [1]
    assert "colour" in refusal(lambda: asked.infer(tensors[0]))


class TestNetwork:
    @pytest.fixture
    def sums(self, tmp_path: Path) -> Asked:
        """Adds images and masks, and counts; two outputs."""
        shape = ["N", 2, 2]
        return saved(
            tmp_path,
            network(
                [
                    helper.make_node("Add", ["image", "mask"], ["sum"]),
                    helper.make_node("Cast", ["sum"], ["whole"], to=TensorProto.INT32),
                ],
                {"image": (TensorProto.FLOAT, shape), "mask": (TensorProto.FLOAT, shape)},
                {"sum": (TensorProto.FLOAT, shape), "whole": (TensorProto.INT32, shape)},
            ),
        )

    def test_several_outputs_are_a_record_for_each_row(self, sums: Asked) -> None:
        row = {"image": [[1, 2], [3, 4]], "mask": [[0.5, 0], [0, 0]]}
        (answer,) = sums.score([row])
        assert answer == {"sum": [[1.5, 2], [3, 4]], "whole": [[1, 2], [3, 4]]}
        assert sums.together([[row], [row, row]]) == [[answer], [answer, answer]]

    def test_says_what_it_takes_and_gives(self, sums: Asked) -> None:
        assert sums.signature.inputs == (
            TensorSpec("image", "FP32", (-1, 2, 2)),
            TensorSpec("mask", "FP32", (-1, 2, 2)),
        )
        assert [spec.name for spec in sums.signature.outputs] == ["sum", "whole"]

    @pytest.mark.parametrize(
        ("row", "said"),
        [
            ({"image": [[1, 2]], "mask": [[1, 2]]}, "422 The input `image` must have the shape"),
            ({"image": [[1, 2], [3]], "mask": [[1]]}, "422 image[0][1]: expected 2 values, got 1"),
            (5, "422 Row 0 must be a list of 2 values"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, sums: Asked, row: Any, said: str) -> None:
        assert sums.refusal([row]).startswith(said)

    def test_inputs_of_different_length_are_refused(self, sums: Asked) -> None:
        tensors = [
            Tensor(name, "FP32", (n, 2, 2), [0.0] * 4 * n)
            for name, n in (("image", 1), ("mask", 2))
        ]
        assert "differ in their number of rows" in refusal(lambda: sums.infer(*tensors))

    def test_integers_stay_in_their_range(self, tmp_path: Path) -> None:
        asked = saved(
            tmp_path,
            network(
                [helper.make_node("Identity", ["x"], ["y"])],
                {"x": (TensorProto.INT32, ["N"])},
                {"y": (TensorProto.INT32, ["N"])},
            ),
        )
        assert asked.score([1, -2]) == [1, -2]
        assert asked.refusal([1 << 40]).startswith("422 x: a value is beyond int32")
        assert asked.refusal([1.5]).startswith("422 x[0]: expected an integer")
        wide = Tensor("x", "INT64", (1,), [1 << 40])
        assert "must be of type INT32" in refusal(lambda: asked.infer(wide))
        assert asked.infer(Tensor("x", "INT64", (1,), [7]))[0].elements() == [7]

    def test_a_fixed_number_of_rows_is_never_joined(self, tmp_path: Path) -> None:
        asked = saved(
            tmp_path,
            network(
                [helper.make_node("Identity", ["x"], ["y"])],
                {"x": (TensorProto.FLOAT, [2, 1])},
                {"y": (TensorProto.FLOAT, [2, 1])},
            ),
        )
        assert asked.entry.batching is None
        assert asked.score([[1], [2]]) == [[1], [2]]
        assert "must have the shape [2, 1]" in asked.refusal([[1]])

    def test_an_input_without_rows_needs_a_script(self, tmp_path: Path) -> None:
        model = network(
            [helper.make_node("Identity", ["x"], ["y"])],
            {"x": (TensorProto.FLOAT, [])},
            {"y": (TensorProto.FLOAT, [])},
        )
        with pytest.raises(StartFailed, match="no dimension for rows") as failed:
            saved(tmp_path, model)
        assert failed.value.cause.code == "needs_script"

    def test_infinities_become_null(self, tmp_path: Path) -> None:
        asked = saved(
            tmp_path,
            network(
                [helper.make_node("Log", ["x"], ["y"])],
                {"x": (TensorProto.FLOAT, ["N"])},
                {"y": (TensorProto.FLOAT, ["N"])},
            ),
        )
        assert json.loads(asked.scored([0, 1, -1])) == [None, 0, None]


def test_large_weights_beside_the_model_are_found(tmp_path: Path) -> None:
    weights = helper.make_tensor("w", TensorProto.FLOAT, [1024], np.ones(1024, dtype="f4"))
    model = network(
        [helper.make_node("Mul", ["x", "w"], ["y"])],
        {"x": (TensorProto.FLOAT, ["N", 1024])},
        {"y": (TensorProto.FLOAT, ["N", 1024])},
    )
    model.graph.initializer.append(weights)
    onnx.save_model(
        model, place(tmp_path, "model.onnx"), save_as_external_data=True, location="weights.data"
    )
    assert loaded(tmp_path, "onnx").score([[2.0] * 1024]) == [[2.0] * 1024]
