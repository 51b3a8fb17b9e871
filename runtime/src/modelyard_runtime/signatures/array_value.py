"""Parameters annotated with a numpy array. Imported only where a script uses some."""

from __future__ import annotations

import typing
from collections.abc import Sequence
from typing import Any

import numpy as np

from modelyard_runtime.arrays import array_of, array_of_tensor, datatype_of, narrowed
from modelyard_runtime.signature import JsonSchema, Table
from modelyard_runtime.signatures.bodies import Text, read_json
from modelyard_runtime.signatures.values import Value
from modelyard_runtime.signatures.wording import kind_of, unfit
from modelyard_runtime.tensors import Tensor, TensorSpec

_JSON_TYPES = {"f": "number", "i": "integer", "u": "integer", "b": "boolean", "U": "string"}


class ArrayValue(Value):
    """An array, of the type that the annotation names, from lists in lists."""

    enveloped = True

    def __init__(self, annotation: Any, sample: Any = None) -> None:
        self._dtype = _dtype_of(annotation)
        self._dimensions = _dimensions_of(sample)
        self.schema = _schema(self._dtype, self._dimensions)

    def parse(self, name: str, text: Text) -> Any:
        """The array of the lists in JSON."""
        return self.build(name, read_json(text))

    def build(self, name: str, value: Any) -> Any:
        """The array of lists."""
        if type(value) is not list:
            raise unfit(name, f"expected an array, got {kind_of(value)}")
        return array_of(name, value, self._dtype)

    def from_tensors(self, name: str, tensors: Sequence[Tensor]) -> Any:
        """The only tensor, or one-dimensional ones as columns beside each other."""
        if not tensors:
            raise unfit(name, "is missing")
        arrays = [self._typed(tensor.name, array_of_tensor(tensor)) for tensor in tensors]
        if len(arrays) == 1:
            return arrays[0]
        columns = [array.reshape(len(array), -1) for array in arrays if array.ndim]
        if len(columns) < len(arrays) or len({len(column) for column in columns}) > 1:
            raise unfit(name, "its tensors must have the same number of rows")
        return np.hstack(columns)

    def from_table(self, name: str, table: Table) -> Any:
        """The rows."""
        return self.build(name, table.rows)

    def specs(self, name: str) -> tuple[TensorSpec, ...]:
        """One tensor, where a sample has told how many dimensions it has."""
        if not self._dimensions:
            return ()
        datatype = "FP64" if self._dtype is None else datatype_of(self._dtype)
        return (TensorSpec(name, datatype, (-1,) * self._dimensions),)

    def _typed(self, name: str, array: Any) -> Any:
        if self._dtype is None or array.dtype == self._dtype:
            return array
        if self._dtype.kind == "f" and array.dtype.kind in "fiu":
            return narrowed(name, array, self._dtype)
        if np.can_cast(array.dtype, self._dtype, "same_kind"):
            return array.astype(self._dtype)
        return array_of(name, array.tolist(), self._dtype)


def _dtype_of(annotation: Any) -> np.dtype[Any] | None:
    """The type in `NDArray[…]` or `np.ndarray[…, np.dtype[…]]`; None where any will do."""
    for part in typing.get_args(annotation)[1:]:
        for scalar in typing.get_args(part):
            if isinstance(scalar, type) and scalar is not np.generic:
                try:
                    return np.dtype(scalar)
                except TypeError:  # an abstract one, such as `np.floating`
                    return None
    return None


def _dimensions_of(sample: Any) -> int:
    dimensions = 0
    while isinstance(sample, list) and sample:
        dimensions, sample = dimensions + 1, sample[0]
    return dimensions


def _schema(dtype: np.dtype[Any] | None, dimensions: int) -> JsonSchema:
    kind = _JSON_TYPES.get(dtype.kind) if dtype is not None else None
    if not dimensions:
        return {"type": "array", "items": {}}
    schema: JsonSchema = {"type": kind} if kind else {}
    for _ in range(dimensions):
        schema = {"type": "array", "items": schema}
    return schema
