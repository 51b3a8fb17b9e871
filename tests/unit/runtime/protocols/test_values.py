from __future__ import annotations

import json
import math
import tracemalloc
from typing import Any

import pytest

from modelyard_runtime.http.server import HttpError
from modelyard_runtime.protocols.values import (
    check_datatype,
    check_range,
    json_of_tensor,
    read_shape,
    tensor_of_json,
)
from modelyard_runtime.tensors import SIZES, Tensor


def of_json(name: str, datatype: str, shape: tuple[int, ...], data: Any) -> Tensor:
    return tensor_of_json(name, datatype, shape, json.dumps(data).encode())


def refused(*arguments: Any, by: Any = of_json) -> str:
    with pytest.raises(HttpError) as caught:
        by("x", *arguments)
    assert caught.value.status == 400
    assert "`x`" in caught.value.message
    return caught.value.message


@pytest.mark.parametrize("datatype", [*SIZES, "BYTES"])
def test_datatypes_of_the_protocol_are_known(datatype: str) -> None:
    check_datatype("x", datatype)


@pytest.mark.parametrize("datatype", ["FP8", "float32", "", "fp32", "F" * 10_000])
def test_other_datatypes_are_refused(datatype: Any) -> None:
    assert len(refused(datatype, by=check_datatype)) < 200


@pytest.mark.parametrize("shape", [[], [1], [2, 3], [0], [0, 224, 224, 3], [1024, 0], [1] * 32])
def test_shapes_that_data_can_have(shape: list[int]) -> None:
    assert read_shape("x", shape) == tuple(shape)


@pytest.mark.parametrize(
    "shape",
    [
        [-1],
        [2, -2],
        [1] * 33,
        [2**63],
        [2**32, 2**32],
        [3_000_000, 3_000_000, 3_000_000],
        [2**60, 0],
        [1025, 0],
        [2**60, 0, 2**60],
        [0, 2**62, 2**62],
    ],
)
def test_shapes_that_lie_are_refused_before_there_is_memory_for_them(shape: Any) -> None:
    tracemalloc.start()
    try:
        refused(shape, by=read_shape)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("shape", "data", "flat"),
    [
        ([2, 2], [1, 2, 3, 4], [1, 2, 3, 4]),
        ([2, 2], [[1, 2], [3, 4]], [1, 2, 3, 4]),
        ([1, 2, 2], [[[1, 2], [3, 4]]], [1, 2, 3, 4]),
        ([3], [1, 2, 3], [1, 2, 3]),
        ([], [7], [7]),
        ([0], [], []),
        ([0, 3], [], []),
        ([2, 0], [[], []], []),
    ],
)
def test_data_is_flat_or_nested_as_the_shape_says(
    shape: list[int], data: list[Any], flat: list[int]
) -> None:
    tensor = of_json("x", "INT32", tuple(shape), data)
    assert tensor == Tensor("x", "INT32", tuple(shape), flat)


@pytest.mark.parametrize(
    ("shape", "data"),
    [
        ([2, 2], [1, 2, 3]),
        ([2, 2], [1, 2, 3, 4, 5]),
        ([2, 2], []),
        ([2**40], [1]),
        ([4], [[1, 2], [3, 4]]),
        ([2, 2], [[1, 2, 3, 4]]),
        ([2, 2], [[1, 2], [3]]),
        ([2, 2], [[1, 2], 3]),
        ([2, 2], [[[1], [2]], [[3], [4]]]),
        ([], [[7]]),
        ([1], [{}]),
        ([1], [[]]),
        ([1], 7),
        ([1], "7"),
        ([1], None),
        ([1], {"0": 7}),
    ],
)
def test_data_of_another_shape_is_refused(shape: list[int], data: Any) -> None:
    refused("INT32", tuple(shape), data)


@pytest.mark.parametrize(
    ("datatype", "values"),
    [
        ("BOOL", [True, False]),
        ("INT8", [-128, 127]),
        ("UINT8", [0, 255]),
        ("INT64", [-(2**63), 2**63 - 1]),
        ("UINT64", [0, 2**64 - 1]),
        ("FP16", [65504, -65504.0]),
        ("FP32", [3.4028235e38, -3.4028235e38]),
        ("FP64", [1.7976931348623157e308, 5e-324, 2**63]),
        ("BYTES", ["", "ä", "\0"]),
    ],
)
def test_values_of_a_datatype_are_taken(datatype: str, values: list[Any]) -> None:
    assert of_json("x", datatype, (len(values),), values).elements() == values


@pytest.mark.parametrize(
    ("datatype", "value"),
    [
        ("BOOL", 1),
        ("BOOL", "true"),
        ("BOOL", None),
        ("INT8", -129),
        ("INT8", 128),
        ("INT32", 2**31),
        ("INT32", True),
        ("INT32", 1.0),
        ("INT32", "1"),
        ("INT32", None),
        ("INT64", 2**63),
        ("UINT8", -1),
        ("UINT8", 256),
        ("UINT64", 1.8446744073709552e19),
        ("FP16", 65520),
        ("FP32", 3.5e38),
        ("FP32", -1e39),
        ("FP32", True),
        ("FP32", "1.0"),
        ("FP64", "NaN"),
        ("BYTES", 1),
        ("BYTES", None),
    ],
)
def test_a_value_of_another_datatype_is_named(datatype: str, value: Any) -> None:
    good: Any = {"BOOL": True, "BYTES": "x"}.get(datatype, 1)
    message = refused(datatype, (3,), [good, value, good])
    assert "element 1 " in message or "[1]" in message
    assert datatype in message


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ((2, 2), b"[" + b"[]," * 1_000_000 + b"[]]"),
        ((2, 2), b"[" * 100_000),
        ((1,), b"[" + b"1," * 1_000_000 + b"1]"),
        ((1, 1), b"[[" + b"1," * 1_000_000 + b"1]]"),
        ((2,), b"[" + b"[" * 100_000 + b"]" * 100_000 + b"]"),
        ((2,), b"[" + b"9" * 5_000 + b",1]"),
        ((2,), b"[1,2"),
        ((2,), b"[1,2]]"),
        ((2,), b"[NaN,1]"),
        ((2,), b"[1e999,1]"),
        ((2,), b""),
    ],
)
def test_json_that_lies_is_refused_without_memory(shape: tuple[int, ...], text: bytes) -> None:
    tracemalloc.start()
    try:
        refused("FP32", shape, text, by=tensor_of_json)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("text", [b'["\\ud800"]', b'["\xff"]', b'["\xed\xa0\x80"]', b'["', b"[[]]"])
def test_text_that_is_none(text: bytes) -> None:
    refused("BYTES", (1,), text, by=tensor_of_json)


def test_a_range_beside_nan() -> None:
    check_range("x", "FP32", [math.nan, 1.0])
    refused("FP32", [math.nan, math.inf], by=check_range)
    refused("FP16", [1.0, math.nan, -65520.0], by=check_range)


def test_integers_are_floats_in_a_tensor_of_floats() -> None:
    values = of_json("x", "FP32", (3,), [1, 2.5, None]).elements()
    assert set(map(type, values)) == {float}
    assert set(map(type, of_json("x", "FP32", (2,), [1, 2.5]).elements())) == {float}


def test_null_is_nan_in_a_tensor_of_floats() -> None:
    values = of_json("x", "FP32", (2,), [None, 1.5]).elements()
    assert math.isnan(values[0])
    assert values[1] == 1.5


def test_a_range_is_checked_beside_a_null() -> None:
    refused("FP32", (3,), [None, 1e39, 1])
    refused("FP32", (2,), [1e39, None])


def test_long_names_are_shortened_in_messages() -> None:
    with pytest.raises(HttpError) as caught:
        read_shape("n" * 1_000_000, [-1])
    assert len(caught.value.message) < 200


def test_bytes_become_text_in_json() -> None:
    assert json_of_tensor(Tensor("x", "BYTES", (2,), [b"a\xc3\xa4", "b"])) == ["aä", "b"]
    with pytest.raises(UnicodeDecodeError):
        json_of_tensor(Tensor("x", "BYTES", (1,), [b"\xff"]))
