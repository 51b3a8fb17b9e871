"""numpy arrays out of tensors and out of parsed JSON. Imported only where numpy is wanted.

The other way, from arrays to tensors, is `tensors.tensor_of_array`, which needs no numpy.
"""

from __future__ import annotations

import struct
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelyard_runtime.signatures.wording import at, kind_of, unfit
from modelyard_runtime.tensors import SIZES, Tensor

_DTYPES = {
    "BOOL": "?",
    "UINT8": "u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
_TAKEN: dict[str, set[type]] = {
    "f": {int, float, type(None)},
    "i": {int},
    "u": {int},
    "b": {bool},
    "U": {str},
    "M": {str},
}
"""What may be in the JSON, by the kind of array that is wanted; booleans are told from integers."""
_WANTED = {
    "f": "a number",
    "i": "an integer",
    "u": "an integer",
    "b": "a boolean",
    "U": "text",
    "M": "a date",
}
_SAFE = {"f": "fiu", "i": "iu", "u": "iu", "b": "b", "U": "U", "M": "", "O": "fiubUO"}
"""By the kind that is wanted: the kinds that numpy finds in lists that are certainly right."""

_DOUBLE = np.dtype(np.float64)
_FLOATS = {_DOUBLE: "d", np.dtype(np.float32): "f"}
"""What the machine's own floats are called in `struct`."""
_MOST_DIMENSIONS = 64
"""Of a numpy array."""
_ROOM_FOR_TEXTS, _ROOM_PER_CHARACTER = 64 << 20, 16
"""Bytes that an array of texts may always take, and per character where that is more: numpy gives
each text four bytes for every character of the longest."""


def datatype_of(dtype: np.dtype[Any]) -> str:
    """The datatype of a numpy type; `BYTES` for all that is no number."""
    little = dtype.newbyteorder("<")
    return next((name for name, code in _DTYPES.items() if np.dtype(code) == little), "BYTES")


def array_of_tensor(tensor: Tensor) -> NDArray[Any]:
    """The array that a tensor holds; of binary data it is a view. Elements of `BYTES` are `str`."""
    if isinstance(tensor.data, memoryview):
        return np.frombuffer(tensor.data, _DTYPES[tensor.datatype]).reshape(tensor.shape)
    if tensor.datatype in SIZES:
        return np.array(tensor.data, _DTYPES[tensor.datatype]).reshape(tensor.shape)
    texts = tensor.json_values()
    expect_room(tensor.name, texts)
    return np.array(texts, dtype=np.str_).reshape(tensor.shape)


def array_of(name: str, values: Any, dtype: np.dtype[Any] | None) -> NDArray[Any]:
    """Lists in lists, out of JSON, as an array; `null` is NaN among numbers.

    Args:
        name: What to call the values in an error.
        values: A value, or lists of them in lists.
        dtype: What is wanted; None: what the values are.

    Raises:
        HttpError: 422, some value is of another type, or a row has another length.
    """
    try:
        return _array_of(name, values, dtype)
    except RecursionError:
        raise unfit(name, "is nested too deeply") from None


def floats_of(rows: list[Any], width: int, dtype: np.dtype[Any]) -> NDArray[Any] | None:
    """Rows of so many finite numbers, none of them a boolean, in half the time that numpy takes.

    Args:
        rows: Lists of numbers.
        width: Of each.
        dtype: Of the array; as in `narrowed`, integers are rounded to doubles first.

    Returns:
        None: They are something else, or one is beyond the type.
    """
    code = _FLOATS.get(dtype)
    if code is None:
        return None
    try:
        values = list(chain.from_iterable(rows))
        if set(map(len, rows)) != {width}:
            return None
        place = bytearray(dtype.itemsize * len(values))
        struct.pack_into(f"{len(values)}{code}", place, 0, *values)
    except (TypeError, struct.error):
        return None
    array = np.frombuffer(place, dtype).reshape(-1, width)
    # What is beyond single precision has become an infinity, and JSON has none.
    return array if code == "d" or np.isfinite(array).all() else None


def narrowed(name: str, array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Numbers as floats of a type that may not hold them all.

    Integers are rounded to doubles first, as they are beside numbers with a fraction.

    Raises:
        HttpError: 422, a finite number would become an infinity.
    """
    if array.dtype.kind != "f":
        array = array.astype(_DOUBLE)
    with np.errstate(over="ignore"):
        cast = array.astype(dtype, copy=False)
    if not np.isfinite(cast).all():
        lost = np.isinf(cast) & np.isfinite(array)
        if lost.any():
            place = np.argwhere(lost)[0].tolist()
            raise unfit(at(name, place), f"is beyond {dtype.name}")
    return cast


def are_numbers(values: Any) -> bool:
    """Whether there is certainly no text in lists; not whether they are nested evenly.

    Adding up is the fastest way to find out: it fails for all but numbers and booleans.
    """
    try:
        while type(values[0]) is list and type(values[0][0]) is list:
            values = list(chain.from_iterable(values))
        sum(map(sum, values)) if type(values[0]) is list else sum(values)
    except (TypeError, IndexError):
        return False
    return True


def expect_room(name: str, values: Any) -> None:
    """Refuse a long text among many values, whose array would take gigabytes.

    Raises:
        HttpError: 422
    """
    level, longest, characters, count = [values], 0, 0, 0
    while level:
        lengths = [len(value) for value in level if type(value) is str]
        lists = [value for value in level if type(value) is list]
        longest = max(longest, *lengths, 0)
        characters += sum(lengths)
        count += len(level) - len(lists)
        level = list(chain.from_iterable(lists))
    if 4 * longest * count > max(_ROOM_FOR_TEXTS, _ROOM_PER_CHARACTER * characters):
        raise unfit(name, "its texts differ too much in length to make an array of them")


def _array_of(name: str, values: Any, dtype: np.dtype[Any] | None) -> NDArray[Any]:
    try:
        if not are_numbers(values):
            expect_room(name, values)
        found = np.asarray(values)
    except (ValueError, OverflowError):
        raise _ragged(name, values) from None
    if dtype is None and found.dtype.kind in "fiub":
        return found
    wanted = dtype or _type_of(values, found.shape)
    if found.dtype.kind not in _SAFE.get(wanted.kind, ""):
        _check(name, values, found.shape, wanted)
    return _converted(name, values, found, wanted)


def _converted(name: str, values: Any, found: NDArray[Any], wanted: np.dtype[Any]) -> NDArray[Any]:
    try:
        if wanted.kind in "iu" and found.size and found.dtype.kind in "iu":
            bounds = np.iinfo(wanted)
            if found.min() < bounds.min or found.max() > bounds.max:
                raise OverflowError
        if wanted.kind == "f" and wanted.itemsize < _DOUBLE.itemsize:
            plain = found if found.dtype.kind in "fiu" else np.asarray(values, dtype=_DOUBLE)
            return narrowed(name, plain, wanted)
        return np.asarray(values if found.dtype.kind in "OUS" else found, dtype=wanted)
    except OverflowError:
        raise unfit(name, f"a value is beyond {wanted.name}") from None
    except (ValueError, TypeError):
        raise unfit(name, f"cannot be read as {wanted.name}") from None


def _type_of(values: Any, shape: tuple[int, ...]) -> np.dtype[Any]:
    """The type for values among which numpy finds none: text alone is text, `null` is NaN."""
    kinds = set(map(type, _leaves(values, len(shape))))
    return np.dtype(np.str_ if kinds == {str} else np.float64)


def _check(name: str, values: Any, shape: tuple[int, ...], wanted: np.dtype[Any]) -> None:
    taken = _TAKEN.get(wanted.kind)
    if taken is None:
        return
    leaves = _leaves(values, len(shape))
    if not set(map(type, leaves)).issubset(taken):
        index, value = next((i, v) for i, v in enumerate(leaves) if type(v) not in taken)
        problem = f"expected {_WANTED[wanted.kind]}, got {kind_of(value)}"
        raise unfit(at(name, _path(index, shape)), problem)


def _leaves(values: Any, dimensions: int) -> list[Any]:
    """The values in evenly nested lists, level by level: one by one would take far longer."""
    level = values if dimensions else [values]
    for _ in range(dimensions - 1):
        level = list(chain.from_iterable(level))
    return level


def _ragged(name: str, values: list[Any]) -> Exception:
    """Says which value differs from the first one of its level."""
    level = values
    shape: tuple[int, ...] = (len(values),)
    while level and len(shape) <= _MOST_DIMENSIONS:
        for index, value in enumerate(level):
            problem = _difference(name, value, level[0], len(shape))
            if problem:
                return unfit(at(name, _path(index, shape)), problem)
        if type(level[0]) is not list:
            return unfit(name, "no array can be made of the values in it")
        shape = (*shape, len(level[0]))
        level = list(chain.from_iterable(level))
    return unfit(name, "is nested too deeply")


def _difference(name: str, value: Any, first: Any, depth: int) -> str:
    is_list, wants_list = type(value) is list, type(first) is list
    if is_list != wants_list:
        wanted = "an array" if wants_list else "no array"
        return f"expected {wanted}, as {at(name, (0,) * depth)} is"
    if is_list and len(value) != len(first):
        return f"expected {len(first)} values, got {len(value)}"
    return ""


def _path(index: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Where the value with an index is, level by level."""
    path: list[int] = []
    for length in reversed(shape):
        index, step = divmod(index, length)
        path.append(step)
    return tuple(reversed(path))
