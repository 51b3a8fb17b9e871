"""Results of scripts as named tensors."""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

from modelyard_runtime.signatures.results import to_tensors


@dataclass
class Flower:
    petal: float
    name: str


class Point(msgspec.Struct):
    x: int


def described(result: Any) -> list[tuple[str, str, tuple[int, ...], Any]]:
    return [(t.name, t.datatype, t.shape, t.nested()) for t in to_tensors(result)]


@pytest.mark.parametrize(
    ("result", "tensors"),
    [
        ([1, 2], [("output", "INT64", (2,), [1, 2])]),
        ((1, 2.5), [("output", "FP64", (2,), [1.0, 2.5])]),
        ([[True], [False]], [("output", "BOOL", (2, 1), [[True], [False]])]),
        (["a", "b"], [("output", "BYTES", (2,), ["a", "b"])]),
        (3.5, [("output", "FP64", (1,), [3.5])]),
        ("a", [("output", "BYTES", (1,), ["a"])]),
        ([2**63], [("output", "UINT64", (1,), [2**63])]),
        ([], [("output", "FP64", (0,), [])]),
        ([[], []], [("output", "FP64", (2, 0), [[], []])]),
        ({"a": [1], "b": "x"}, [("a", "INT64", (1,), [1]), ("b", "BYTES", (1,), ["x"])]),
        ([{"a": 1}, {"a": 2}], [("a", "INT64", (2,), [1, 2])]),
        (
            [Flower(1.5, "a"), Flower(2.5, "b")],
            [("petal", "FP64", (2,), [1.5, 2.5]), ("name", "BYTES", (2,), ["a", "b"])],
        ),
        (Point(3), [("x", "INT64", (1,), [3])]),
        ([datetime.date(2026, 1, 31)], [("output", "BYTES", (1,), ["2026-01-31"])]),
        (np.array([[1.5]], np.float32), [("output", "FP32", (1, 1), [[1.5]])]),
        (np.int32(3), [("output", "INT32", (1,), [3])]),
        (np.array(["a"]), [("output", "BYTES", (1,), ["a"])]),
        ({"a": np.array([1], np.uint8)}, [("a", "UINT8", (1,), [1])]),
        ([np.array([1, 2]), np.array([3, 4])], [("output", "INT64", (2, 2), [[1, 2], [3, 4]])]),
        (
            pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}),
            [("a", "INT64", (2,), [1, 2]), ("b", "BYTES", (2,), ["x", "y"])],
        ),
        (pd.Series([1.5]), [("output", "FP64", (1,), [1.5])]),
    ],
)
def test_are_tensors(result: Any, tensors: list[Any]) -> None:
    assert described(result) == tensors


def test_none_among_numbers_is_not_a_number() -> None:
    (tensor,) = to_tensors([1, None])
    assert tensor.datatype == "FP64"
    assert math.isnan(tensor.elements()[1])


@pytest.mark.parametrize(
    "result",
    [[1, "a"], [[1], [1, 2]], None, object(), [object()], [2**70], [{"a": [{}]}], {"a": 1j}],
)
def test_that_no_tensor_holds(result: Any) -> None:
    with pytest.raises(TypeError):
        to_tensors(result)
