"""Rows of numbers as one array: what most models take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from modelyard_runtime.arrays import are_numbers, array_of_tensor, datatype_of, floats_of
from modelyard_runtime.frameworks.answers import Array
from modelyard_runtime.frameworks.inputs import (
    Inputs,
    by_name,
    check_widths,
    in_order,
    no_names,
    only,
    wrong_width,
)
from modelyard_runtime.http.server import HttpError
from modelyard_runtime.signature import JsonSchema
from modelyard_runtime.signatures.wording import kind_of
from modelyard_runtime.tensors import Tensor, TensorSpec

INPUT = "input"
_NUMBERS = "fiub"


class Matrix(Inputs):
    """An array of rows and features.

    Args:
        width: Features; None when the model does not say.
        names: Their names, if the model knows them.
        dtype: Type of the array.
        takes_missing: A missing value (`null`, NaN) is something that the model knows to handle.
        takes_text: Values may be strings; then the array holds objects.
    """

    def __init__(
        self,
        width: int | None,
        names: Sequence[str] | None = None,
        *,
        dtype: np.dtype[Any] | None = None,
        takes_missing: bool = True,
        takes_text: bool = False,
    ) -> None:
        self.width = width
        self.names = tuple(names) if names else None
        self.dtype = np.dtype(np.float64) if dtype is None else dtype
        self._narrow = self.dtype.kind == "f" and self.dtype.itemsize < np.dtype(float).itemsize
        self.takes_missing = takes_missing
        self.takes_text = takes_text
        datatype = "BYTES" if takes_text else datatype_of(self.dtype)
        self.specs = (TensorSpec(INPUT, datatype, (-1, -1 if width is None else width)),)
        self.row_schema = self._schema()

    def from_rows(self, rows: list[Any]) -> Array:
        """One array; looked at value by value only if numpy finds more than numbers."""
        if type(rows[0]) is dict:
            if self.names is None:
                raise no_names()
            rows = in_order(rows, self.names)
        if not are_numbers(rows):  # numpy would give each text the room of the longest
            return self._exact(rows)
        try:
            array = np.asarray(rows)
        except ValueError:  # rows of several lengths
            return self._exact(rows)
        if array.dtype.kind not in _NUMBERS or array.ndim != 2:
            return self._exact(rows)
        if self.width is not None and array.shape[1] != self.width:
            raise wrong_width(0, array.shape[1], self.width)
        return self._cast(array)

    def from_joined_rows(self, rows: list[Any]) -> Array | None:
        """One array, unless there is text in it: that changes the type of all."""
        array = None if self.width is None else floats_of(rows, self.width, self.dtype)
        if array is None:
            array = self.from_rows(rows)
        return array if array.dtype == self.dtype else None

    def from_tensors(self, tensors: Sequence[Tensor]) -> Array:
        """One tensor of rows and features, or one of a column for each feature, by name."""
        if len(tensors) > 1 and self.names is not None:
            columns = [_column(tensor) for tensor in by_name(tensors, self.names)]
            if len({len(column) for column in columns}) > 1:
                raise HttpError(422, "The inputs differ in their number of rows.")
            array = np.column_stack(columns)
        else:
            array = array_of_tensor(only(tensors, INPUT))
        return self._fitting(array)

    def count(self, value: Array) -> int:
        """Rows of the array."""
        return len(value)

    def key(self, value: Array) -> Any:
        """The type, because numbers and objects do not mix; the width, where any will do."""
        return value.dtype.char, value.shape[1]

    def join(self, values: Sequence[Array]) -> Array:
        """One array after the other."""
        return np.concatenate(values)

    def _fitting(self, array: Array) -> Array:
        if array.ndim != 2:
            raise HttpError(422, f"The input must have 2 dimensions, not {array.ndim}.")
        if self.width is not None and array.shape[1] != self.width:
            raise wrong_width(0, array.shape[1], self.width)
        if array.dtype.kind not in _NUMBERS:
            return self._exact(array.tolist())
        array = self._cast(array)
        if not self.takes_missing and not np.isfinite(array).all():
            row, column = np.argwhere(~np.isfinite(array))[0]
            raise self._wrong(row, column, "is not a finite number, and this model needs one")
        return array

    def _cast(self, array: Array) -> Array:
        """The array in the model's type, in which every finite number must stay one."""
        if not self._narrow:
            return array.astype(self.dtype, copy=False)
        if array.dtype.kind != "f":  # as beside numbers with a fraction
            array = array.astype(np.float64)
        with np.errstate(over="ignore"):
            cast = array.astype(self.dtype, copy=False)
        lost = np.argwhere(np.isinf(cast) & np.isfinite(array))
        if len(lost):
            row, column = lost[0]
            raise self._wrong(row, column, f"is beyond {self.dtype.name}")
        return cast

    def _exact(self, rows: list[Any]) -> Array:
        """What is no plain matrix of numbers: with missing values, with text, or wrong."""
        check_widths(rows, self.width or (len(rows[0]) if type(rows[0]) is list else 1))
        for at, row in enumerate(rows):
            for column, value in enumerate(row):
                self._check(at, column, value)
        if any(type(value) is str for row in rows for value in row):
            return np.array(rows, dtype=object)
        if self._narrow:
            return self._cast(np.array(rows, dtype=np.float64))
        return np.array(rows, dtype=self.dtype)

    def _check(self, at: int, column: int, value: Any) -> None:
        if value is None:
            if not self.takes_missing:
                raise self._wrong(at, column, "is null, and this model takes no missing values")
        elif type(value) is str and self.takes_text:
            return
        elif type(value) not in (int, float, bool):
            raise self._wrong(at, column, f"must be a number, not {kind_of(value)}")
        elif type(value) is int and abs(value) >> 64:
            raise self._wrong(at, column, "is an integer of more than 64 bits")

    def _wrong(self, at: int, column: int, problem: str) -> HttpError:
        feature = f"`{self.names[column]}`" if self.names else str(column)
        return HttpError(422, f"Row {at}: the feature {feature} {problem}.")

    def _schema(self) -> JsonSchema:
        kind = ["number", "null"] if self.takes_missing else "number"
        value: JsonSchema = {} if self.takes_text else {"type": kind}
        if self.names is not None:
            return record_schema({name: dict(value) for name in self.names})
        if self.width is None:
            return {"type": "array", "items": value}
        return {
            "type": "array",
            "items": value,
            "minItems": self.width,
            "maxItems": self.width,
        }


def record_schema(properties: dict[str, JsonSchema]) -> JsonSchema:
    """The JSON Schema of a row as an object: all features, and no others."""
    return {
        "type": "object",
        "description": f"Or a list of {len(properties)} values in this order.",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _column(tensor: Tensor) -> Array:
    array = array_of_tensor(tensor)
    if array.ndim == 2 and array.shape[1] == 1:
        return array[:, 0]
    if array.ndim != 1:
        raise HttpError(422, f"Input `{tensor.name[:60]}` must be one column.")
    return array
