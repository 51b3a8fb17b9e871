"""Tensors from Python values and back, checked before anything is made of them.

Called by the protocols that bring tensors. What is wrong is a 400 that names the tensor: a shape is
held against the values that really came, so that one that lies costs no memory.
"""

from __future__ import annotations

import math
from itertools import chain
from typing import Any

from modelyard_runtime.http import HttpError
from modelyard_runtime.tensors import SIZES, Tensor

MOST_DIMENSIONS = 32
"""Dimensions of one tensor."""
_MOST_EMPTY_ROWS = 1024
"""Rows of a tensor with nothing in them. They cost the client no bytes, and us a list each."""
_MOST_ELEMENTS = 1 << 48
"""More than any body holds: below it no multiplication of a size overflows in a C library."""
_LONGEST_NAME = 60

_RANGES = {
    **{f"INT{8 * size}": (-(1 << 8 * size - 1), (1 << 8 * size - 1) - 1) for size in (1, 2, 4, 8)},
    **{f"UINT{8 * size}": (0, (1 << 8 * size) - 1) for size in (1, 2, 4, 8)},
}
_TOO_LARGE = {"FP16": 65520.0, "FP32": 3.4028235677973366e38, "FP64": math.inf}
"""The least number that would be rounded to infinity."""
_INTEGERS = frozenset({int})
_NUMBERS = frozenset({float, int})
_NUMBERS_OR_NULL: frozenset[type] = frozenset({float, int, type(None)})
_BOOLEANS = frozenset({bool})
_STRINGS = frozenset({str})


def wrong(name: str, problem: str) -> HttpError:
    """What to raise when a tensor cannot be read."""
    shown = name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…"
    return HttpError(400, f"Input `{shown}`: {problem}.")


def read_datatype(name: str, datatype: Any) -> str:
    """A datatype that is known.

    Raises:
        HttpError: 400, it is not.
    """
    if type(datatype) is str and (datatype in SIZES or datatype == "BYTES"):
        return datatype
    if type(datatype) is not str:
        raise wrong(name, "`datatype` must be a string")
    raise wrong(name, f"the datatype `{datatype[:20]}` is none of {', '.join(SIZES)}, BYTES")


def read_shape(name: str, shape: Any) -> tuple[int, ...]:
    """A shape that some data could have; whether its data does is to be seen.

    Raises:
        HttpError: 400, it is none.
    """
    if type(shape) is not list:
        raise wrong(name, "`shape` must be a list of integers")
    if len(shape) > MOST_DIMENSIONS:
        raise wrong(name, f"it has more than {MOST_DIMENSIONS} dimensions")
    if set(map(type, shape)) - {int}:
        raise wrong(name, "`shape` must hold integers only")
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


def tensor_of_json(name: str, datatype: str, shape: tuple[int, ...], data: Any) -> Tensor:
    """A tensor of values from JSON, flat or nested as the shape says.

    Raises:
        HttpError: 400, the values do not have this shape or this datatype.
    """
    if type(data) is not list:
        raise wrong(name, "`data` must be a list")
    values = _flatten(name, shape, data) if data and type(data[0]) is list else data
    expect_count(name, shape, len(values))
    return Tensor(name, datatype, shape, _checked(name, datatype, values))


def expect_count(name: str, shape: tuple[int, ...], count: int) -> None:
    """Hold a number of elements against a shape.

    Raises:
        HttpError: 400, they differ.
    """
    expected = math.prod(shape)
    if count != expected:
        said = f"the shape {list(shape)} makes {expected} elements"
        raise wrong(name, f"{said}, but `data` holds {count}")


def _flatten(name: str, shape: tuple[int, ...], data: list[Any]) -> list[Any]:
    if not shape or len(data) != shape[0]:
        raise wrong(name, f"`data` is not nested as the shape {list(shape)} says")
    for length in shape[1:]:
        if set(map(type, data)) - {list} or set(map(len, data)) - {length}:
            raise wrong(name, f"`data` is not nested as the shape {list(shape)} says")
        data = list(chain.from_iterable(data))
    return data


def _checked(name: str, datatype: str, values: list[Any]) -> list[Any]:
    """The values, if each can be one of the datatype. The loops over them run in C."""
    if datatype in _TOO_LARGE:
        return _checked_floats(name, datatype, values)
    if datatype in _RANGES:
        _expect_kinds(name, datatype, values, _INTEGERS, "integers")
        low, high = _RANGES[datatype]
        if values and not (low <= min(values) and max(values) <= high):
            raise _out_of_range(name, datatype, values)
    elif datatype == "BOOL":
        _expect_kinds(name, datatype, values, _BOOLEANS, "true and false")
    else:
        _expect_kinds(name, datatype, values, _STRINGS, "strings")
    return values


def _checked_floats(name: str, datatype: str, values: list[Any]) -> list[float | int]:
    """Numbers as floats; `null` is how JSON says NaN, here as in answers."""
    kinds = set(map(type, values))
    numbers = values
    if not kinds <= _NUMBERS:
        _expect_kinds(name, datatype, values, _NUMBERS_OR_NULL, "numbers")
        numbers = [value for value in values if value is not None]
        values = [math.nan if value is None else float(value) for value in values]
    elif int in kinds:
        numbers = values = list(map(float, values))
    limit = _TOO_LARGE[datatype]
    # The norm bounds them all, in a fifth of the time of looking at each.
    if math.hypot(*numbers) >= limit and max(map(abs, numbers)) >= limit:
        raise _out_of_range(name, datatype, values)
    return values


def _expect_kinds(
    name: str, datatype: str, values: list[Any], allowed: frozenset[type], wanted: str
) -> None:
    if not set(map(type, values)) <= allowed:
        at = next(at for at, value in enumerate(values) if type(value) not in allowed)
        raise wrong(name, f"element {at} of `data` does not fit {datatype}, which holds {wanted}")


def _out_of_range(name: str, datatype: str, values: list[Any]) -> HttpError:
    if datatype in _TOO_LARGE:
        limit = _TOO_LARGE[datatype]
        at = next(at for at, value in enumerate(values) if abs(value) >= limit)
    else:
        low, high = _RANGES[datatype]
        at = next(at for at, value in enumerate(values) if not low <= value <= high)
    return wrong(name, f"element {at} of `data` is out of the range of {datatype}")


def json_of_tensor(tensor: Tensor) -> list[Any]:
    """The values for an answer in JSON, flat. The encoder makes null of NaN and infinities.

    Raises:
        UnicodeDecodeError: It holds bytes that are not UTF-8, which JSON cannot carry.
    """
    if tensor.datatype != "BYTES":
        return tensor.elements()
    return [value.decode() if isinstance(value, bytes) else value for value in tensor.elements()]
