"""What is read or written together is what reading or writing each for itself would make."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from modelyard_runtime.frameworks.answers import Answer
from modelyard_runtime.frameworks.inputs import Inputs
from modelyard_runtime.frameworks.matrix import Matrix
from modelyard_runtime.frameworks.named import Field, Named
from modelyard_runtime.frameworks.signature import ModelSignature, RowBatching, Served
from modelyard_runtime.http.server import Headers, HttpError, Request
from modelyard_runtime.signature import Arguments

SINGLE = np.dtype(np.float32)
INPUTS: dict[str, Inputs] = {
    "doubles": Matrix(2, ["a", "b"]),
    "complete doubles": Matrix(2, ["true", "b"], takes_missing=False),
    "singles": Matrix(2, dtype=SINGLE),
    "any width": Matrix(None),
    "text": Matrix(2, takes_text=True),
    "tensor": Named([Field("x", SINGLE, (-1, 2))]),
    "tensor of any width": Named([Field("x", SINGLE, (-1, -1))]),
    "column": Named([Field("x", np.dtype(np.float64), (-1, 1))]),
    "half precision": Named([Field("x", np.dtype(np.float16), (-1, 2))]),
    "tensors": Named([Field("a", SINGLE, (-1, 1)), Field("b", SINGLE, (-1,))]),
    "integers": Named([Field("x", np.dtype(np.int64), (-1, 2))]),
    "anything": Named([Field("x", SINGLE, None)]),
}
NUMBERS = (
    st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.sampled_from(
        [0, 1, -0.0, 1e39, 65504.0, 65520.0, (1 << 53) + 1, (1 << 54) + (1 << 30) + 1]
    )
)
ODD = st.none() | st.booleans() | st.just("text") | st.lists(st.integers(0, 3), max_size=2)
ROWS = st.lists(NUMBERS, min_size=2, max_size=2) | st.fixed_dictionaries(
    {"a": NUMBERS, "b": NUMBERS}
)
ODD_ROWS = st.lists(NUMBERS | ODD, max_size=3) | NUMBERS | ODD
DOCUMENTS = st.lists(ROWS, min_size=1, max_size=3) | st.lists(ROWS | ODD_ROWS, max_size=3)
BODIES = DOCUMENTS.map(orjson.dumps) | st.sampled_from(
    [b"", b"[1],[2", b"3]", b"[[1,2]]]", b'{"data":[[1,2]]}', b"[[NaN,1]]", b"[[1,2]] ", b"null"]
)


def served(inputs: Inputs) -> Served:
    return Served({"predict": lambda rows: rows}, inputs)


def alone(signature: ModelSignature, body: bytes) -> Arguments | None:
    try:
        return signature.from_request(Request("POST", "/score", "", Headers([]), body))
    except HttpError:
        return None


def read(batching: RowBatching, bodies: Sequence[bytes]) -> tuple[Arguments, list[int]] | None:
    try:
        return batching.read(bodies)
    except (HttpError, ValueError):
        return None


def same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    return bool(one.dtype == other.dtype and one.shape == other.shape) and (
        one.tobytes() == other.tobytes()
    )


@pytest.mark.parametrize("kind", INPUTS)
@settings(max_examples=60, deadline=None)
@given(bodies=st.lists(BODIES, min_size=1, max_size=4))
@example(bodies=[b"[1],[2", b"3]"])
@example(bodies=[b"[[1e39,1]]"])
@example(bodies=[b"[[true,false]]", b"[[1.5,2]]"])
@example(bodies=[b"[[18014398509481985,1]]", b"[[1.5,2]]"])
@example(bodies=[b"[[null,1]]", b"[[1,2]]"])
@example(bodies=[b'[["1",1]]', b"[[1,2]]"])
def test_what_is_read_together_is_what_each_is_joined(kind: str, bodies: list[bytes]) -> None:
    signature = ModelSignature(served(INPUTS[kind]))
    batching = RowBatching(served(INPUTS[kind]))
    together = read(batching, bodies)
    if together is None:
        return  # each is read alone then, whatever is the matter
    each = [alone(signature, body) for body in bodies]
    wanted = [arguments for arguments in each if arguments is not None]
    assert len(wanted) == len(bodies)
    arguments, rows = together
    assert rows == [batching.rows(one) for one in wanted]
    assert len({batching.key(one) for one in wanted}) == 1
    joined = batching.join(wanted)
    assert arguments["method"] == joined["method"]
    assert same(arguments["rows"], joined["rows"])


@pytest.mark.parametrize("kind", ["doubles", "singles", "any width", "tensor", "half precision"])
@pytest.mark.parametrize(
    "bodies", [[b"[[1,2]]"], [b"[[1,2.5]]", b" [[3,4],[5,6]]"], [b"[[1,2]]"] * 40]
)
def test_plain_numbers_are_read_together(kind: str, bodies: list[bytes]) -> None:
    together = read(RowBatching(served(INPUTS[kind])), bodies)
    assert together is not None
    assert together[1] == [len(orjson.loads(body)) for body in bodies]


def test_long_bodies_are_read_alone() -> None:
    body = orjson.dumps([[0.1234567890123, 0.2]] * 8000)
    assert read(RowBatching(served(INPUTS["doubles"])), [body, body]) is None


SHAPES: list[tuple[int, ...]] = [(7,), (7, 1), (7, 3), (7, 2, 2), (7, 1, 1, 2)]
ARRAYS: dict[str, Callable[[tuple[int, ...]], Any]] = {
    "doubles": lambda shape: np.random.default_rng(1).normal(size=shape) * 1e20,
    "singles": lambda shape: np.random.default_rng(1).normal(size=shape).astype(SINGLE),
    "halves": lambda shape: np.random.default_rng(1).normal(size=shape).astype(np.float16),
    "integers": lambda shape: np.random.default_rng(1).integers(-5, 1 << 40, size=shape),
    "bytes": lambda shape: np.ones(shape, np.uint8),
    "booleans": lambda shape: np.random.default_rng(1).random(shape) > 0.5,
    "big-endian": lambda shape: np.random.default_rng(1).normal(size=shape).astype(">f8"),
}
ROW_COUNTS = [[1] * 7, [2, 1, 4], [7], [6, 1]]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ARRAYS)
@pytest.mark.parametrize("rows", ROW_COUNTS)
def test_answers_written_together_are_those_of_the_parts(
    shape: tuple[int, ...], kind: str, rows: list[int]
) -> None:
    answer = Answer({"predict": ARRAYS[kind](shape)})
    assert answer.texts(rows) == [part.to_json() for part in answer.split(rows)]


@pytest.mark.parametrize(
    "arrays",
    [
        {"a": np.ones(3), "b": np.ones(3)},
        {"a": np.array([1.0, np.nan, 2.0])},
        {"a": np.array(["1", "],[", ","])},
        {"a": np.array([1, "x", None], dtype=object)},
        {"a": np.array(3.0)},
        {"a": np.empty((3, 0))},
    ],
)
def test_other_answers_are_written_each(arrays: dict[str, Any]) -> None:
    assert Answer(arrays).texts([1, 1, 1]) is None


def test_another_number_of_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="3 rows, not 2"):
        Answer({"a": np.ones((3, 2))}).texts([1, 1])
