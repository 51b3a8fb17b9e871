"""Finding what JSON has no word for."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from modelyard_runtime.non_finite import has_non_finite


@pytest.mark.parametrize(
    "result",
    [
        math.nan,
        [1.0, [math.inf]],
        {"a": {"b": (0.5, -math.inf)}},
        np.array([[1.0, np.nan]]),
        [np.float32("inf")],
    ],
)
def test_is_found(result: Any) -> None:
    assert has_non_finite(result)


@pytest.mark.parametrize(
    "result", [None, 1, "nan", [None, 1.5], {"a": None}, np.zeros(3), object()]
)
def test_nothing_else_is(result: Any) -> None:
    assert not has_non_finite(result)
