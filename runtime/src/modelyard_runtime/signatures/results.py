"""Whatever a script returns, as named tensors; knows arrays and tables without importing either."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from modelyard_runtime.tensors import Tensor, tensor_of_array

NAME = "output"
"""The tensor of a result that has no names of its own."""

_TEXTS = (str, bytes, bytearray)
_INT64, _UINT64 = range(-(1 << 63), 1 << 63), range(1 << 64)


def to_tensors(result: Any) -> list[Tensor]:
    """The columns of tables and records, the values of mappings, or one tensor called `output`.

    Raises:
        TypeError: It is nothing that tensors can hold.
    """
    if hasattr(result, "dtype") and hasattr(result, "shape"):
        return [_tensor(NAME, result)]
    if hasattr(result, "columns") and hasattr(result, "dtypes"):
        return [_tensor(str(name), result[name].to_numpy()) for name in result.columns]
    if not isinstance(result, Mapping):
        result = msgspec.to_builtins(result, enc_hook=_plain)
    if isinstance(result, Mapping):
        return [_tensor(str(name), value) for name, value in result.items()]
    if _are_records(result):
        return [_tensor(name, [row[name] for row in result]) for name in result[0]]
    return [_tensor(NAME, result)]


def _are_records(result: Any) -> bool:
    if not isinstance(result, list) or not result or not all(isinstance(r, dict) for r in result):
        return False
    names = result[0].keys()
    return all(isinstance(name, str) for name in names) and all(r.keys() == names for r in result)


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"an object of type `{type(value).__name__}` cannot be a tensor")


def _tensor(name: str, value: Any) -> Tensor:
    if hasattr(value, "to_numpy"):  # a pandas series
        value = value.to_numpy()
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        known = tensor_of_array(name, value)
        if known is not None:
            return known
        value = value.tolist()
    if not isinstance(value, list | tuple):
        value = [value]
    shape, flat = _flatten(name, value)
    return Tensor(name, _datatype(name, flat), shape, flat)


def _flatten(name: str, value: Sequence[Any]) -> tuple[tuple[int, ...], list[Any]]:
    """The shape of lists in lists, and what they hold in one list."""
    shape, level = [len(value)], list(value)
    while level and all(isinstance(item, list | tuple) for item in level):
        length = len(level[0])
        if any(len(item) != length for item in level):
            raise TypeError(f"the rows of `{name}` differ in length")
        shape.append(length)
        level = [inner for item in level for inner in item]
    return tuple(shape), level


def _datatype(name: str, values: list[Any]) -> str:
    """The datatype of plain values. `None` among floats becomes NaN."""
    kinds = {type(value) for value in values}
    if kinds <= {bool}:
        return "BOOL" if kinds else "FP64"
    if kinds <= {int}:
        if all(value in _INT64 for value in values):
            return "INT64"
        if all(value in _UINT64 for value in values):
            return "UINT64"
    numbers = kinds - {type(None)}
    if numbers and numbers <= {int, float} and kinds != {int}:
        values[:] = [float("nan") if value is None else float(value) for value in values]
        return "FP64"
    if all(issubclass(kind, _TEXTS) for kind in kinds):
        return "BYTES"
    raise TypeError(f"`{name}` mixes values of different types, or holds what no tensor can")
