"""What a model's method returned: one array or several, each with one entry for every row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelyard_runtime.signatures import results
from modelyard_runtime.signatures.answers import to_json
from modelyard_runtime.tensors import Tensor

Array = NDArray[Any]

_NUMBERS = "fiub"
"""Kinds of arrays whose JSON has a bracket or a comma only between values."""


class Answer:
    """Named arrays. One alone is answered as a list; several as a list of objects, one a row."""

    __slots__ = ("arrays",)

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self.arrays = arrays

    def to_json(self) -> bytes:
        """A JSON list; NaN and infinities become `null`.

        Raises:
            TypeError: An array holds what JSON cannot.
        """
        if len(self.arrays) == 1:
            return to_json(*self.arrays.values())
        columns = [array.tolist() for array in self.arrays.values()]
        if not all(isinstance(column, list) for column in columns):
            return to_json(dict(zip(self.arrays, columns, strict=True)))
        rows = zip(*columns, strict=True)
        return to_json([dict(zip(self.arrays, row, strict=True)) for row in rows])

    def texts(self, rows: Sequence[int]) -> list[bytes] | None:
        """What `to_json` makes of the parts of so many rows, cut out of the JSON of the whole.

        Returns:
            None: only for one array of finite numbers is that certain.

        Raises:
            ValueError: There is another number of rows than that.
        """
        array, *others = self.arrays.values()
        if others or not array.size or not array.ndim or array.dtype.kind not in _NUMBERS:
            return None
        text = to_json(array)
        if b"null" in text:
            return None
        begin, end = b"[" * array.ndim, b"]" * array.ndim
        between = end[1:] + b"," + begin[1:]
        written = text[array.ndim : -array.ndim].split(between)
        if len(written) != sum(rows):
            raise ValueError(f"there are {len(written)} rows, not {sum(rows)}")
        left = iter(written)
        return [begin + between.join(islice(left, count)) + end for count in rows]

    def to_tensors(self) -> list[Tensor]:
        """One tensor for each array.

        Raises:
            TypeError: An array holds what no tensor can.
        """
        return results.to_tensors(self.arrays)

    def split(self, rows: Sequence[int]) -> list[Answer]:
        """Parts of so many rows.

        Raises:
            ValueError: There is another number of rows than that.
        """
        total = sum(rows)
        arrays = list(self.arrays.items())
        for name, array in arrays:
            if not array.ndim or len(array) != total:
                raise ValueError(f"`{name}` has the shape {array.shape}, not {total} rows")
        parts, begin = [], 0
        for count in rows:
            end = begin + count
            parts.append(Answer({name: array[begin:end] for name, array in arrays}))
            begin = end
        return parts


def answer_of(name: str, result: Any) -> Answer:
    """What a method returned, whatever its form: one array, a list of arrays, or arrays by name.

    Args:
        name: Of an output that has no name of its own: that of the method.
        result: What the method returned.
    """
    if isinstance(result, np.ndarray):
        return Answer({name: np.ascontiguousarray(result)})
    if isinstance(result, dict):
        return Answer({key: _array(value) for key, value in result.items()})
    if isinstance(result, list | tuple) and result and hasattr(result[0], "shape"):
        return Answer({f"{name}_{at}": _array(value) for at, value in enumerate(result)})
    if hasattr(result, "columns") and hasattr(result, "to_numpy"):  # a data frame
        return Answer({str(column): _array(result[column]) for column in result.columns})
    return Answer({name: _array(result)})


def _array(value: Any) -> Array:
    if hasattr(value, "toarray"):  # a sparse matrix, as vectorizers return
        value = value.toarray()
    array = np.asarray(value)
    return np.ascontiguousarray(array) if array.ndim else array
