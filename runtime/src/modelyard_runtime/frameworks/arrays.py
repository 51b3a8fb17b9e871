"""Values of requests as numpy arrays, checked; arrays as tensors of the Open Inference Protocol.

The fast way is one call into numpy for the whole input. Only what that cannot make right is looked
at value by value, to say which one is wrong.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelyard_runtime.http import HttpError
from modelyard_runtime.tensors import SIZES, Tensor

Array = NDArray[Any]

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
_DATATYPES = {np.dtype(code): name for name, code in _DTYPES.items()}
_TEXT = np.dtype(object)
_FITTING = {"f": "fiub", "i": "iub", "u": "iub", "b": "b", "O": "U"}
"""By the kind that is wanted: the kinds that numpy may make of values that are right."""
_WORDS = {"f": "a number", "i": "an integer", "u": "an integer", "b": "true or false"}
_LONGEST_SHOWN = 40


def dtype_of(datatype: str) -> np.dtype[Any]:
    """The numpy type of a datatype; strings are objects."""
    return np.dtype(_DTYPES[datatype]) if datatype in _DTYPES else _TEXT


def datatype_of(dtype: np.dtype[Any]) -> str:
    """The datatype of a numpy type; `BYTES` for all that is no number."""
    return _DATATYPES.get(dtype.newbyteorder("<"), "BYTES")


def from_tensor(tensor: Tensor) -> Array:
    """The array that a tensor holds; its amount of data has been checked."""
    if isinstance(tensor.data, list):
        values = tensor.data
        if tensor.datatype not in SIZES:
            values = [_text(tensor.name, value) for value in values]
        return np.array(values, dtype_of(tensor.datatype)).reshape(tensor.shape)
    return np.frombuffer(tensor.data, dtype_of(tensor.datatype)).reshape(tensor.shape)


def to_tensor(name: str, array: Array) -> Tensor:
    """An array as a tensor.

    Raises:
        TypeError: It holds objects that are not text.
    """
    datatype = datatype_of(array.dtype)
    if datatype == "BYTES":
        return Tensor(name, datatype, array.shape, [_string(item) for item in array.ravel()])
    data = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    view = data.reshape(-1).view(np.uint8).data if data.size else memoryview(b"")
    return Tensor(name, datatype, array.shape, view)


def to_array(values: Any, dtype: np.dtype[Any], place: str) -> Array:
    """Values out of JSON as an array of a type; `null` is NaN where there is one.

    Args:
        values: Lists in lists.
        dtype: What is wanted.
        place: What to call the values in an error, such as `the feature `age``.

    Raises:
        HttpError: 422, they are not all of this type, or lists of one level differ in length.
    """
    try:
        array = np.asarray(values)
    except ValueError:
        raise HttpError(422, f"{place}: lists beside each other differ in length.") from None
    if array.dtype == dtype and dtype != _TEXT:
        return array
    if array.dtype.kind not in _FITTING[dtype.kind]:
        array = _exact(values, dtype, place)
    return array.astype(dtype) if dtype.kind in "fbO" else _narrowed(array, dtype, place)


def _narrowed(array: Array, dtype: np.dtype[Any], place: str) -> Array:
    """Integers of another size, if they all fit."""
    bounds = np.iinfo(dtype)
    if array.size and (array.min() < bounds.min or array.max() > bounds.max):
        raise HttpError(422, f"{place}: a value is out of the range of {datatype_of(dtype)}.")
    return array.astype(dtype)


def _exact(values: Any, dtype: np.dtype[Any], place: str) -> Array:
    """What numpy took for something else, value by value: missing ones, or wrong ones."""
    array = np.asarray(values, dtype=object)
    for at, value in np.ndenumerate(array):
        if not _is_right(value, dtype.kind):
            raise HttpError(422, f"{place}{_at(at)} must be {_wanted(dtype)}, not {shown(value)}.")
    if dtype.kind in "iu":  # beyond 64 bits: numpy keeps such numbers as objects
        raise HttpError(422, f"{place}: a value is out of the range of {datatype_of(dtype)}.")
    return array


def _is_right(value: Any, kind: str) -> bool:
    if kind == "f":
        return value is None or isinstance(value, int | float)
    if kind in "iu":
        return isinstance(value, int)
    return isinstance(value, bool) if kind == "b" else isinstance(value, str)


def _wanted(dtype: np.dtype[Any]) -> str:
    return _WORDS.get(dtype.kind, "a string")


def _at(place: tuple[int, ...]) -> str:
    return "".join(f"[{index}]" for index in place)


def shown(value: Any) -> str:
    """A value from JSON as an error names it: what it is, and short text as it is."""
    if isinstance(value, str) and len(value) <= _LONGEST_SHOWN:
        return f'the string "{value}"'
    words = {str: "a string", list: "a list", dict: "an object", type(None): "null"}
    return words.get(type(value), str(value)[:_LONGEST_SHOWN])


def _text(name: str, value: Any) -> str:
    try:
        return value.decode() if isinstance(value, bytes) else str(value)
    except UnicodeDecodeError:
        raise HttpError(422, f"Input `{name}`: an element is not UTF-8 text.") from None


def _string(value: Any) -> str:
    if isinstance(value, str):
        return str(value)
    raise TypeError(f"an object of type `{type(value).__name__}` cannot be in a tensor")
