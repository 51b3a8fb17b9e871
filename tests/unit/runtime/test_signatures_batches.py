"""`@batchable`: which requests are scored together, and that each gets its own answers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from modelyard_runtime import batchable, signatures
from modelyard_runtime.signature import Arguments, Batching
from modelyard_runtime.signatures import Unreadable


def lists(rows: list[list[float]]) -> list[float]:
    return [sum(row) for row in rows]


def arrays(x: npt.NDArray[np.float32]) -> Any:
    return x.sum(axis=1)


def frames(x: pd.DataFrame) -> Any:
    return x.a * 2


def with_option(rows: list[int], top: int = 3, options: dict[str, int] | None = None) -> list[int]:
    return [row * top for row in rows]


def batching_of(run: Callable[..., Any]) -> Batching:
    found = signatures.batching_of(run, dict(inspect.signature(run).parameters))
    assert found is not None
    return found


ARRAY = np.array([[1, 2], [3, 4]], np.float32)
FRAME = pd.DataFrame({"a": [1, 2]})


@pytest.mark.parametrize(
    ("run", "calls"),
    [
        (lists, [{"rows": [[1.0, 2.0]]}, {"rows": []}, {"rows": [[3.0], [4.0, 5.0]]}]),
        (arrays, [{"x": ARRAY}, {"x": ARRAY[:1]}]),
        (frames, [{"x": FRAME}, {"x": FRAME[1:]}]),
        (with_option, [{"rows": [1], "top": 2}, {"rows": [3, 4], "top": 2}]),
    ],
)
def test_answers_are_those_of_each_request(run: Callable[..., Any], calls: list[Arguments]) -> None:
    batching = batching_of(batchable(run))
    assert len({batching.key(call) for call in calls}) == 1
    rows = [batching.rows(call) for call in calls]
    parts = batching.split(run(**batching.join(calls)), rows)
    for part, call in zip(parts, calls, strict=True):
        assert list(part) == list(run(**call))


@pytest.mark.parametrize(
    ("run", "one", "other"),
    [
        (arrays, {"x": ARRAY}, {"x": ARRAY[:, :1]}),
        (arrays, {"x": ARRAY}, {"x": ARRAY.astype(np.float64)}),
        (frames, {"x": FRAME}, {"x": FRAME.rename(columns={"a": "b"})}),
        (frames, {"x": FRAME}, {"x": FRAME.astype(float)}),
        (with_option, {"rows": [1], "top": 1}, {"rows": [1]}),
        (with_option, {"rows": [1], "top": 1}, {"rows": [1], "top": 2}),
        (with_option, {"rows": [1], "top": 1}, {"rows": [1], "top": True}),
    ],
)
def test_requests_that_do_not_fit_together(
    run: Callable[..., Any], one: Arguments, other: Arguments
) -> None:
    batching = batching_of(batchable(run))
    assert batching.key(one) != batching.key(other)


def test_what_cannot_be_compared_is_scored_alone() -> None:
    assert batching_of(batchable(with_option)).rows({"rows": [1], "options": {"a": 1}}) == 0
    assert batching_of(batchable(arrays)).rows({"x": np.float32(3)}) == 0


@pytest.mark.parametrize("result", [[1], None, 3, "ab", {"a": 1, "b": 2}])
def test_another_number_of_answers_is_an_error(result: Any) -> None:
    with pytest.raises(ValueError, match="answer"):
        batching_of(batchable(lists)).split(result, [1, 1])


def test_limits() -> None:
    def run(rows: list[int]) -> list[int]:
        return rows

    found = batching_of(batchable(max_rows=8, max_wait="10ms")(run))
    assert (found.max_rows, found.max_wait) == (8, 0.01)
    found = batching_of(batchable(run))
    assert (found.max_rows, found.max_wait) == (None, None)
    assert signatures.batching_of(lambda rows: rows, {}) is None


@pytest.mark.parametrize("limits", [{"max_rows": 0}, {"max_wait": "10"}, {"max_wait": "-1s"}])
def test_limits_that_are_none(limits: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="max_"):
        batchable(**limits)


@pytest.mark.parametrize("annotation", [str, dict, dict[str, int], int])
def test_needs_rows(annotation: Any) -> None:
    def run(data): ...  # type: ignore[no-untyped-def]

    run.__annotations__["data"] = annotation
    with pytest.raises(Unreadable, match="`data` is annotated neither as a list"):
        batching_of(batchable(run))
