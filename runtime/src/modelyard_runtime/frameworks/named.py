"""Named tensors whose first dimension counts rows: what ONNX, PyTorch and Keras models take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelyard_runtime.arrays import array_of, array_of_tensor, datatype_of, floats_of, narrowed
from modelyard_runtime.frameworks.answers import Array
from modelyard_runtime.frameworks.inputs import Inputs, by_name, check_widths, in_order, only
from modelyard_runtime.frameworks.matrix import record_schema
from modelyard_runtime.http.server import HttpError
from modelyard_runtime.signature import JsonSchema
from modelyard_runtime.tensors import Tensor, TensorSpec

_FITTING = {"f": "fiu", "i": "iu", "u": "iu", "U": "U"}
"""By the kind of numbers that a model takes: the kinds that may be sent."""
_JSON_TYPES = {"f": "number", "i": "integer", "u": "integer", "b": "boolean"}


@dataclass(frozen=True, slots=True)
class Field:
    """One input."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...] | None
    """-1 where any length will do; the first is that of the rows. None: the model does not say
    what it takes, and gets tensors of any type as they come."""


class Named(Inputs):
    """Arrays by the names of the inputs."""

    def __init__(self, fields: Sequence[Field]) -> None:
        self._fields = tuple(fields)
        self._names = [field.name for field in fields]
        self._are_floats = all(field.dtype.kind == "f" and field.shape for field in fields)
        self.specs = _specs(fields)
        self.row_schema = self._schema()

    def from_rows(self, rows: list[Any]) -> dict[str, Array]:
        """With one input a row is its value; with several, an object, or a list in their order."""
        if type(rows[0]) is dict:
            rows = in_order(rows, self._names)
        elif len(self._fields) == 1:
            return {self._names[0]: self._fitting(self._fields[0], rows)}
        else:
            check_widths(rows, len(self._fields))
        return {
            field.name: self._fitting(field, [row[at] for row in rows])
            for at, field in enumerate(self._fields)
        }

    def from_joined_rows(self, rows: list[Any]) -> dict[str, Array] | None:
        """Arrays of floats; of integers and texts some are refused only where no others are by."""
        if not self._are_floats:
            return None
        field, *others = self._fields
        if others or field.shape is None or len(field.shape) != 2:
            return self.from_rows(rows)
        array = floats_of(rows, field.shape[1], field.dtype)
        return self.from_rows(rows) if array is None else {field.name: array}

    def from_tensors(self, tensors: Sequence[Tensor]) -> dict[str, Array]:
        """One tensor for each input; the only one may have any name."""
        if len(self._fields) == 1:
            tensors = [only(tensors, self._names[0])]
        else:
            tensors = by_name(tensors, self._names)
        values = {
            field.name: _shaped(field, _cast(field, array_of_tensor(tensor)))
            for field, tensor in zip(self._fields, tensors, strict=True)
        }
        if len({len(array) for array in values.values()}) > 1:
            raise HttpError(422, "The inputs differ in their number of rows.")
        return values

    def count(self, value: dict[str, Array]) -> int:
        """Length of the first dimension."""
        return len(value[self._names[0]])

    def key(self, value: dict[str, Array]) -> Any:
        """The shapes of a row."""
        return tuple(array.shape[1:] for array in value.values())

    def join(self, values: Sequence[dict[str, Array]]) -> dict[str, Array]:
        """The rows of every input under each other."""
        return {name: np.concatenate([value[name] for value in values]) for name in self._names}

    def _fitting(self, field: Field, values: list[Any]) -> Array:
        array = array_of(field.name, values, field.dtype)
        if field.shape is not None and field.shape[1:] == (1,) and array.ndim == 1:
            array = array.reshape(-1, 1)  # a column: rows give its values as they are
        return _shaped(field, array)

    def _schema(self) -> JsonSchema:
        if len(self._fields) == 1:
            return _schema(self._fields[0], single=True)
        return record_schema({field.name: _schema(field, single=False) for field in self._fields})


def _specs(fields: Sequence[Field]) -> tuple[TensorSpec, ...]:
    """As the protocols describe them; nothing unless all are known."""
    return tuple(
        TensorSpec(field.name, datatype_of(field.dtype), field.shape)
        for field in fields
        if field.shape is not None
    )


def _cast(field: Field, array: Array) -> Array:
    """An array of the type that the model takes, if no value changes."""
    if field.shape is None or array.dtype == field.dtype:
        return array
    if array.dtype.kind in _FITTING.get(field.dtype.kind, ""):
        if field.dtype.kind == "f":
            return narrowed(field.name, array, field.dtype)
        cast = array.astype(field.dtype)
        if (cast == array).all():
            return cast
    given, wanted = datatype_of(array.dtype), datatype_of(field.dtype)
    raise HttpError(422, f"The input `{field.name}` must be of type {wanted}, not {given}.")


def _shaped(field: Field, array: Array) -> Array:
    """Check the shape, where the model says one."""
    if field.shape is None:
        if array.ndim == 0:
            raise HttpError(422, f"The input `{field.name}` must have a dimension for rows.")
        return array
    fits = array.ndim == len(field.shape) and all(
        wanted in (-1, given) for wanted, given in zip(field.shape, array.shape, strict=True)
    )
    if not fits:
        given, wanted = list(array.shape), list(field.shape)
        raise HttpError(
            422,
            f"The input `{field.name}` must have the shape {wanted}, where -1 is any length, "
            f"not {given}.",
        )
    return array


def _schema(field: Field, single: bool) -> JsonSchema:
    """The value of one row."""
    if field.shape is None:
        return {}
    lengths = field.shape[1:]
    if not single and math.prod(lengths) == 1:
        lengths = ()
    schema: JsonSchema = {"type": _JSON_TYPES.get(field.dtype.kind, "string")}
    for length in reversed(lengths):
        schema = {"type": "array", "items": schema}
        if length != -1:
            schema |= {"minItems": length, "maxItems": length}
    return schema
