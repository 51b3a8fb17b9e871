"""Tensors from values and back, checked before anything is made of them.

Called by the protocols that bring tensors. What is wrong is a 400 that names the tensor: a shape is
held against the values that really came, so that one that lies costs no memory.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from itertools import chain
from typing import Annotated, Any

import msgspec

from modelyard_runtime.http.server import HttpError
from modelyard_runtime.tensors import SIZES, Tensor

MOST_DIMENSIONS = 32
"""Dimensions of one tensor."""
_MOST_EMPTY_ROWS = 1024
"""Rows of a tensor with nothing in them. They cost the client no bytes, and us a list each."""
_MOST_ELEMENTS = 1 << 48
"""More than any body holds: below it no multiplication of a size overflows in a C library."""
_LONGEST_NAME = 60
_LONGEST_NUMBER = 32
"""Bytes of a number in JSON that nobody pads. Only longer data is worth a look at its commas."""

_RANGES = {
    **{f"INT{8 * size}": (-(1 << 8 * size - 1), (1 << 8 * size - 1) - 1) for size in (1, 2, 4, 8)},
    **{f"UINT{8 * size}": (0, (1 << 8 * size) - 1) for size in (1, 2, 4, 8)},
}
_TOO_LARGE = {"FP16": 65520.0, "FP32": 3.4028235677973366e38, "FP64": math.inf}
"""The least number that would be rounded to infinity."""
_NESTED = re.compile(rb"\s*\[\s*\[")


def wrong(name: str, problem: str) -> HttpError:
    """What to raise when a tensor cannot be read."""
    shown = name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…"
    return HttpError(400, f"Input `{shown}`: {problem}.")


def check_datatype(name: str, datatype: str) -> None:
    """Refuse a datatype that is not known.

    Raises:
        HttpError: 400
    """
    if datatype not in SIZES and datatype != "BYTES":
        raise wrong(name, f"the datatype `{datatype[:20]}` is none of {', '.join(SIZES)}, BYTES")


def read_shape(name: str, shape: list[int]) -> tuple[int, ...]:
    """A shape that some data could have; whether its data does is to be seen.

    Raises:
        HttpError: 400, it is none.
    """
    if len(shape) > MOST_DIMENSIONS:
        raise wrong(name, f"it has more than {MOST_DIMENSIONS} dimensions")
    if shape and min(shape) < 0:
        raise wrong(name, "`shape` holds a negative dimension")
    if 0 in shape:
        _check_empty(name, shape)
    elif math.prod(shape) > _MOST_ELEMENTS:
        raise wrong(name, "its `shape` says more elements than any request holds")
    return tuple(shape)


def _check_empty(name: str, shape: list[int]) -> None:
    rows = math.prod(shape[: shape.index(0)])
    if rows > _MOST_EMPTY_ROWS or math.prod(filter(None, shape)) > _MOST_ELEMENTS:
        raise wrong(name, f"an empty tensor has at most {_MOST_EMPTY_ROWS} rows of nothing")


def tensor_of_json(name: str, datatype: str, shape: tuple[int, ...], text: bytes) -> Tensor:
    """A tensor of values from the JSON of a list, flat or nested as the shape says.

    `null` is NaN among floats, as it is in answers.

    Raises:
        HttpError: 400, the values do not have this shape or this datatype.
    """
    levels = len(shape) if _NESTED.match(text) else 1
    if datatype != "BYTES":
        _expect_marks(name, shape, levels, text)
    nullable = datatype in _TOO_LARGE and b"null" in text
    try:
        values = _decoder(datatype, levels, nullable).decode(text)
    except (msgspec.ValidationError, msgspec.DecodeError, RecursionError, ValueError) as error:
        raise wrong(name, f"`data` does not fit {datatype}: {_reason(error)}") from None
    if levels > 1:
        values = _flatten(name, shape, values)
    expect_count(name, shape, len(values))
    if nullable:
        values = [math.nan if value is None else value for value in values]
    check_range(name, datatype, values)
    return Tensor(name, datatype, shape, values)


def check_range(name: str, datatype: str, values: list[Any]) -> None:
    """Refuse numbers that are beyond a datatype. NaN is beyond none.

    Raises:
        HttpError: 400
    """
    if datatype in _TOO_LARGE:
        limit = _TOO_LARGE[datatype]
        # The norm bounds them all, in a fifth of the time of looking at each.
        if not math.hypot(*values) < limit and any(abs(value) >= limit for value in values):
            at = next(at for at, value in enumerate(values) if abs(value) >= limit)
            raise wrong(name, f"element {at} of `data` is out of the range of {datatype}")
    elif datatype in _RANGES and values:
        low, high = _RANGES[datatype]
        if not (low <= min(values) and max(values) <= high):
            at = next(at for at, value in enumerate(values) if not low <= value <= high)
            raise wrong(name, f"element {at} of `data` is out of the range of {datatype}")


def expect_count(name: str, shape: tuple[int, ...], count: int) -> None:
    """Hold a number of elements against a shape.

    Raises:
        HttpError: 400, they differ.
    """
    expected = math.prod(shape)
    if count != expected:
        said = f"the shape {list(shape)} makes {expected} elements"
        raise wrong(name, f"{said}, but `data` holds {count}")


@lru_cache(maxsize=256)
def _decoder(datatype: str, levels: int, nullable: bool) -> msgspec.json.Decoder[list[Any]]:
    kind: Any = float
    if datatype in _RANGES:
        low, high = _RANGES[datatype]
        # The decoder knows no bound beyond 64 bits with a sign.
        kind = Annotated[int, msgspec.Meta(ge=low, le=min(high, _RANGES["INT64"][1]))]
        if datatype == "UINT64":
            kind = Annotated[int, msgspec.Meta(ge=0)]
    elif datatype == "BOOL":
        kind = bool
    elif datatype == "BYTES":
        kind = str
    elif nullable:
        kind = float | None
    for _ in range(levels):
        kind = list[kind]
    return msgspec.json.Decoder(kind)


def _expect_marks(name: str, shape: tuple[int, ...], levels: int, text: bytes) -> None:
    """Refuse lists of numbers that are not of a shape, before they take ten times their text."""
    elements = math.prod(shape)
    lists = sum(math.prod(shape[:level]) for level in range(levels))
    if text.count(b"[") > lists:
        raise _misnested(name, shape)
    if len(text) > _LONGEST_NUMBER * (elements + lists) and text.count(b",") >= elements + lists:
        raise wrong(name, f"the shape {list(shape)} makes {elements} elements, fewer than `data`")


def _flatten(name: str, shape: tuple[int, ...], data: list[Any]) -> list[Any]:
    if len(data) != shape[0]:
        raise _misnested(name, shape)
    for length in shape[1:]:
        if set(map(len, data)) - {length}:
            raise _misnested(name, shape)
        data = list(chain.from_iterable(data))
    return data


def _misnested(name: str, shape: tuple[int, ...]) -> HttpError:
    return wrong(name, f"`data` is not nested as the shape {list(shape)} says")


def _reason(error: Exception) -> str:
    """What the decoder says, which never repeats the values."""
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    return str(error).replace(" - at `$", " at `data").removesuffix(".")


def json_of_tensor(tensor: Tensor) -> list[Any]:
    """The values for an answer in JSON, flat. The encoder makes null of NaN and infinities.

    Raises:
        UnicodeDecodeError: It holds bytes that are not UTF-8, which JSON cannot carry.
    """
    if tensor.datatype != "BYTES":
        return tensor.elements()
    return [value.decode() if isinstance(value, bytes) else value for value in tensor.elements()]
