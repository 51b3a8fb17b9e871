"""numpy arrays out of tensors and out of parsed JSON. Imported only where numpy is wanted.

The other way, from arrays to tensors, is `tensors.tensor_of_array`, which needs no numpy.
"""

from __future__ import annotations

from collections.abc import Iterator
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
_TAKEN = {
    "f": (int, float, type(None)),
    "i": (int,),
    "u": (int,),
    "b": (bool,),
    "U": (str,),
    "M": (str,),
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
    return np.array(tensor.json_values(), dtype=np.str_).reshape(tensor.shape)


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


def _array_of(name: str, values: Any, dtype: np.dtype[Any] | None) -> NDArray[Any]:
    try:
        found = np.asarray(values)
    except (ValueError, OverflowError):
        raise _ragged(name, values) from None
    if dtype is None and found.dtype.kind in "fiub":
        return found
    wanted = dtype or _type_of(values)
    if found.dtype.kind not in _SAFE.get(wanted.kind, ""):
        _check(name, values, wanted)
    return _converted(name, values, found, wanted)


def _converted(name: str, values: Any, found: NDArray[Any], wanted: np.dtype[Any]) -> NDArray[Any]:
    try:
        if wanted.kind in "iu" and found.size and found.dtype.kind in "iu":
            bounds = np.iinfo(wanted)
            if found.min() < bounds.min or found.max() > bounds.max:
                raise OverflowError
        return np.asarray(values if found.dtype.kind in "OUS" else found, dtype=wanted)
    except OverflowError:
        raise unfit(name, f"a value is beyond {wanted.name}") from None
    except (ValueError, TypeError):
        raise unfit(name, f"cannot be read as {wanted.name}") from None


def _type_of(values: Any) -> np.dtype[Any]:
    """The type for values among which numpy finds none: text alone is text, `null` is NaN."""
    kinds = {type(value) for _, value in _leaves(values)}
    return np.dtype(np.str_ if kinds == {str} else np.float64)


def _check(name: str, values: Any, wanted: np.dtype[Any]) -> None:
    taken = _TAKEN.get(wanted.kind)
    if taken is None:
        return
    for path, value in _leaves(values):
        fits = isinstance(value, taken) and (type(value) is not bool or wanted.kind == "b")
        if not fits:
            problem = f"expected {_WANTED[wanted.kind]}, got {kind_of(value)}"
            raise unfit(at(name, path), problem)


def _leaves(values: Any, path: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], Any]]:
    if isinstance(values, list):
        for index, value in enumerate(values):
            yield from _leaves(value, (*path, index))
    else:
        yield path, values


def _ragged(name: str, values: Any, path: tuple[int, ...] = ()) -> Exception:
    """Says which row differs from the first one beside it."""
    lists = [type(value) is list for value in values]
    for index, (value, is_list) in enumerate(zip(values, lists, strict=True)):
        place = at(name, (*path, index))
        if is_list != lists[0]:
            wanted = "an array" if lists[0] else "no array"
            return unfit(place, f"expected {wanted}, as {at(name, (*path, 0))} is")
        if is_list and len(value) != len(values[0]):
            return unfit(place, f"expected {len(values[0])} values, got {len(value)}")
    for index, value in enumerate(values):
        if lists[0] and value and type(value[0]) is list:
            try:
                np.asarray(value)
            except (ValueError, OverflowError):
                return _ragged(name, value, (*path, index))
    return unfit(name, "the lists in it differ in length or depth")
