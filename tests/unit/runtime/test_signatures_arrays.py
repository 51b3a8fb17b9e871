"""Parameters that are numpy arrays and pandas data frames."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pandas as pd
import pytest
from tests.unit.runtime.asking import (
    get,
    numbers,
    post,
    refusal,
    signature_of,
    table,
    tensors,
    texts,
)

from modelyard_runtime.arrays import array_of_tensor, datatype_of
from modelyard_runtime.tensors import Tensor, TensorSpec, tensor_of_array

UNEVEN = b'["%b"%b]' % (b"x" * 100_000, b',"a"' * 1000)
"""A hundred kilobytes, of which numpy would make 400 MB."""


def array(x: np.ndarray) -> None: ...  # type: ignore[type-arg]
def single(x: npt.NDArray[np.float32]) -> None: ...
def bytes_of(x: npt.NDArray[np.uint8]) -> None: ...
def flags(x: npt.NDArray[np.bool_]) -> None: ...
def words(x: npt.NDArray[np.str_]) -> None: ...
def days(x: npt.NDArray[np.datetime64]) -> None: ...
def floating(x: npt.NDArray[np.floating[Any]]) -> None: ...
def frame(x: pd.DataFrame) -> None: ...
def both(x: npt.NDArray[np.float32], y: pd.DataFrame, top: int = 1) -> None: ...


class TestNumbersBeyondTheType:
    @pytest.mark.parametrize(
        ("body", "place"),
        [
            (b"[[1, 2], [3, 1e39]]", "x[1][1]"),
            (b"[null, -1e39]", "x[1]"),
            (b"[1, 1%b]" % (b"0" * 39), "x[1]"),
        ],
    )
    def test_are_refused_with_their_place(self, body: bytes, place: str) -> None:
        assert refusal(lambda: post(single, body)) == (422, f"{place}: is beyond float32")

    def test_in_a_tensor(self) -> None:
        beyond = tensor_of_array("x", np.array([1.0, 1e39]))
        assert refusal(lambda: tensors(single, beyond)) == (422, "x[1]: is beyond float32")

    def test_infinities_of_a_tensor_stay(self) -> None:
        infinite = tensor_of_array("x", np.array([np.inf, np.nan, 1.0]))
        found = tensors(single, infinite)["x"]
        assert found.dtype == np.float32
        assert [str(value) for value in found] == ["inf", "nan", "1.0"]


class TestArray:
    @pytest.mark.parametrize(
        ("run", "body", "dtype", "values"),
        [
            (array, b"[[1, 2], [3, 4]]", "int64", [[1, 2], [3, 4]]),
            (array, b"[[1, 2.5]]", "float64", [[1, 2.5]]),
            (array, b"[true, false]", "bool", [True, False]),
            (array, b'["a", "bc"]', "<U2", ["a", "bc"]),
            (array, b"[]", "float64", []),
            (array, b"[[], []]", "float64", [[], []]),
            (single, b"[[1, 2.5], [3, 4]]", "float32", [[1, 2.5], [3, 4]]),
            (single, b'{"x": [1]}', "float32", [1]),
            (bytes_of, b"[0, 255]", "uint8", [0, 255]),
            (flags, b"[true]", "bool", [True]),
            (words, b'["a"]', "<U1", ["a"]),
            (floating, b"[1.5]", "float64", [1.5]),
        ],
    )
    def test_from_lists(self, run: Any, body: bytes, dtype: str, values: Any) -> None:
        found = post(run, body)["x"]
        assert found.dtype == np.dtype(dtype)
        assert found.tolist() == values

    def test_null_is_not_a_number(self) -> None:
        for run in (array, single):
            found = post(run, b"[1, null]")["x"]
            assert found.dtype.kind == "f"
            assert np.isnan(found[1])

    def test_dates(self) -> None:
        assert post(days, b'["2026-01-31"]')["x"][0] == np.datetime64("2026-01-31")

    @pytest.mark.parametrize(
        ("run", "body", "message"),
        [
            (array, b"[[1, 2], [3]]", "x[1]: expected 2 values, got 1"),
            (array, b"[[[1], [2]], [[3], [4, 5]]]", "x[1][1]: expected 1 values, got 2"),
            (array, b"[[1], 2]", "x[1]: expected an array, as x[0] is"),
            (array, b"[1, [2]]", "x[1]: expected no array, as x[0] is"),
            (array, b'[1, "a"]', "x[1]: expected a number, got text"),
            (array, b'[{"a": 1}]', "x[0]: expected a number, got an object"),
            (array, b"3", "x: expected an array, got an integer"),
            (array, b'{"y": [1]}', None),
            (array, b"[" * 1000 + b"]" * 1000, None),
            (single, b"[" * 1000 + b"1" + b"]" * 1000, None),
            (array, b"[[1]," + b"[" * 1000 + b"]" * 1001, None),
            (single, b'[[1], ["2"]]', "x[1][0]: expected a number, got text"),
            (single, b"[true]", "x[0]: expected a number, got a boolean"),
            (bytes_of, b"[1, 256]", "x: a value is beyond uint8"),
            (bytes_of, b"[-1]", "x: a value is beyond uint8"),
            (bytes_of, b"[1.5]", "x[0]: expected an integer, got a number"),
            (bytes_of, b"[null]", "x[0]: expected an integer, got null"),
            (flags, b"[1]", "x[0]: expected a boolean, got an integer"),
            (words, b"[1]", "x[0]: expected text, got an integer"),
            (days, b'["no"]', "x: cannot be read as datetime64"),
            (array, b"[" * 50 + b"1,[" + b"]" * 51, None),
            (array, UNEVEN, "x: its texts differ too much in length to make an array of them"),
            (single, UNEVEN, "x: its texts differ too much in length to make an array of them"),
            (words, UNEVEN, "x: its texts differ too much in length to make an array of them"),
        ],
    )
    def test_that_does_not_fit(self, run: Any, body: bytes, message: str | None) -> None:
        status, found = refusal(post, run, body)
        assert status == 422
        assert found == message or not message

    def test_from_tensors(self) -> None:
        raw = np.array([[1, 2], [3, 4]], "<f4")
        binary = Tensor("anything", "FP32", (2, 2), memoryview(raw.tobytes()))
        found = tensors(single, binary)["x"]
        assert found.dtype == np.float32
        assert found.tolist() == raw.tolist()
        assert tensors(array, numbers("a", 1, 2), numbers("b", 3, 4))["x"].tolist() == [
            [1.0, 3.0],
            [2.0, 4.0],
        ]
        assert tensors(single, Tensor("x", "INT32", (1,), [1]))["x"].dtype == np.float32
        assert tensors(words, texts("x", b"a"))["x"].tolist() == ["a"]
        assert refusal(tensors, array)[0] == 422
        assert refusal(tensors, array, numbers("a", 1), numbers("b", 1, 2))[0] == 422
        assert refusal(tensors, bytes_of, numbers("x", 1.5))[0] == 422

    def test_of_texts_that_are_long_or_many(self) -> None:
        long, many = "x" * 1_000_000, ["a"] * 100_000
        assert post(words, orjson.dumps([long, long]))["x"].tolist() == [long, long]
        assert post(words, orjson.dumps([many, many]))["x"].shape == (2, 100_000)
        assert refusal(tensors, words, texts("x", long.encode(), *map(str.encode, many)))[0] == 422

    def test_from_a_table(self) -> None:
        assert table(single, ("a", "b"), [[1, 2]])["x"].tolist() == [[1.0, 2.0]]

    def test_is_described_once_a_sample_tells_its_shape(self) -> None:
        assert signature_of(single).inputs == ()
        signature = signature_of(single, [[1, 2]])
        assert signature.inputs == (TensorSpec("x", "FP32", (-1, -1)),)
        assert signature.input_schema["items"] == {"type": "array", "items": {"type": "number"}}
        assert signature_of(array, {"x": [1]}).inputs == (TensorSpec("x", "FP64", (-1,)),)


class TestTensorsOfArrays:
    @pytest.mark.parametrize(
        "dtype", ["?", "u1", "<u2", "<u4", "<u8", "i1", "<i2", "<i4", "<i8", "<f2", "<f4", "<f8"]
    )
    def test_there_and_back(self, dtype: str) -> None:
        given = np.array([[0, 1], [1, 0]]).astype(dtype)
        tensor = tensor_of_array("x", given)
        assert tensor is not None
        assert tensor.datatype == datatype_of(given.dtype)
        back = array_of_tensor(tensor)
        assert back.dtype == given.dtype
        assert back.tolist() == given.tolist()

    def test_of_another_byte_order_or_layout(self) -> None:
        given = np.array([[1, 2], [3, 4]], ">i4").T
        tensor = tensor_of_array("x", given)
        assert tensor is not None
        assert array_of_tensor(tensor).tolist() == [[1, 3], [2, 4]]

    def test_of_values_that_no_datatype_has(self) -> None:
        assert tensor_of_array("x", np.array(["a"])) is None


class TestFrame:
    FRAME = pd.DataFrame({"a": [1, 2], "b": ["x", None]})

    @pytest.mark.parametrize(
        "body",
        [
            b'[{"a": 1, "b": "x"}, {"a": 2, "b": null}]',
            b'{"columns": ["a", "b"], "data": [[1, "x"], [2, null]]}',
            b'{"columns": ["a", "b"], "index": [0, 1], "data": [[1, "x"], [2, null]]}',
            b'{"a": [1, 2], "b": ["x", null]}',
        ],
    )
    def test_from_every_form(self, body: bytes) -> None:
        pd.testing.assert_frame_equal(post(frame, body)["x"], self.FRAME)

    def test_from_columns_by_index(self) -> None:
        found = post(frame, b'{"a": {"0": 1, "1": 2}}')["x"]
        assert found["a"].tolist() == [1, 2]

    def test_from_a_query(self) -> None:
        assert get(frame, "a=[1]")["x"]["a"].tolist() == [1]

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            (b'[{"a": 1}, 2]', "x[1]: expected an object, got an integer"),
            (b"[1]", "x[0]: expected an object, got an integer"),
            (b'[{"a": 1, "b": 2}, {"a": 1}]', "x[1].b: is missing; the first row has it"),
            (
                b'[{"a": 1}, {"a": 1, "b": 2}]',
                "x[1].b: is not known; the first row does not have it",
            ),
            (b"[[1], [1, 2]]", "x[1]: expected 1 values, got 2"),
            (b'{"columns": ["a"], "data": [[1], [1, 2]]}', "x.data[1]: expected 1 values, got 2"),
            (b'{"columns": ["a"], "data": [1]}', "x.data[0]: expected 1 values, got an integer"),
            (b'{"columns": 3, "data": []}', "x.columns: expected an array, got an integer"),
            (
                b'{"columns": ["a"], "data": [[1]], "index": [1, 2]}',
                "x.index: expected an array with an entry for each row",
            ),
            (b'{"a": [1], "b": [1, 2]}', "x: the columns differ in length"),
            (b'{"a": 1}', "x.a: expected an array, got an integer"),
            (b"3", "x: expected rows or columns, got an integer"),
        ],
    )
    def test_that_does_not_fit(self, body: bytes, message: str) -> None:
        assert refusal(post, frame, body) == (422, message)

    def test_from_tensors(self) -> None:
        found = tensors(frame, numbers("a", 1, 2, shape=(2, 1)), texts("b", b"x", "y"))["x"]
        assert found.to_dict("list") == {"a": [1, 2], "b": ["x", "y"]}
        matrix = tensors(frame, numbers("whatever", 1, 2, shape=(1, 2)))["x"]
        assert matrix.to_numpy().tolist() == [[1, 2]]
        assert refusal(tensors, frame, Tensor("a", "FP64", (), [1.0]))[0] == 422

    def test_from_a_table(self) -> None:
        assert table(frame, ("a",), [[1]])["x"].to_dict("list") == {"a": [1]}
        assert table(frame, None, [[1]])["x"].to_numpy().tolist() == [[1]]

    def test_beside_other_parameters(self) -> None:
        found = post(both, b'{"x": [1], "y": [{"a": 1}], "top": 2}')
        assert (found["x"].dtype, list(found["y"].columns), found["top"]) == ("float32", ["a"], 2)
        assert refusal(post, both, b'{"x": ["a"], "y": []}') == (
            422,
            "x[0]: expected a number, got text",
        )
