"""Rows as a pandas data frame: for models that tell their columns apart by name or type."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from modelyard_runtime.arrays import array_of, array_of_tensor
from modelyard_runtime.frameworks.inputs import Inputs, by_name, check_widths, in_order, only
from modelyard_runtime.frameworks.kinds import NUMBER, Kind
from modelyard_runtime.frameworks.matrix import INPUT, record_schema
from modelyard_runtime.http.server import HttpError
from modelyard_runtime.signature import JsonSchema
from modelyard_runtime.signatures.wording import kind_of
from modelyard_runtime.tensors import Tensor, TensorSpec

_SCALARS = frozenset({str, int, float, bool, type(None)})
_JSON_TYPES = {"f": "number", "i": "integer", "u": "integer", "b": "boolean", "M": "string"}
_DATATYPES = {"float64": "FP64", "float32": "FP32", "int64": "INT64", "int32": "INT32"}


class Frame(Inputs):
    """A data frame with the columns that the model was trained with.

    Args:
        names: The columns, in their order.
        dtypes: The numpy type of each; a column without one gets what pandas makes of its values.
        optional: Columns that a record may lack; they are missing values then.
        kinds: What a column without a type may hold, where that is known.
    """

    def __init__(
        self,
        names: Sequence[str],
        dtypes: Mapping[str, str] | None = None,
        optional: frozenset[str] = frozenset(),
        kinds: Mapping[str, Kind] | None = None,
    ) -> None:
        self._names = list(names)
        self._dtypes = dict(dtypes or {})
        self._optional = optional
        self._kinds = dict(kinds or {})
        self.specs = tuple(TensorSpec(name, self._datatype(name), (-1,)) for name in names)
        self.row_schema = record_schema({name: self._schema(name) for name in names})
        self.row_schema["required"] = [name for name in names if name not in optional]

    def from_rows(self, rows: list[Any]) -> pd.DataFrame:
        """One column after the other, so that an error can name it."""
        if type(rows[0]) is dict:
            rows = in_order(self._filled(rows), self._names)
        else:
            check_widths(rows, len(self._names))
        columns = zip(*rows, strict=True)
        return pd.DataFrame(
            {
                name: self._column(name, list(values))
                for name, values in zip(self._names, columns, strict=True)
            }
        )

    def from_tensors(self, tensors: Sequence[Tensor]) -> pd.DataFrame:
        """One tensor for each column, or one of rows and columns if it is the only one."""
        if len(tensors) == 1 and len(self._names) > 1:
            array = array_of_tensor(only(tensors, INPUT))
            if array.ndim != 2:
                raise HttpError(422, f"The input must have 2 dimensions, not {array.ndim}.")
            return self.from_rows(array.tolist())
        arrays = [array_of_tensor(tensor) for tensor in by_name(tensors, self._names)]
        if len({array.shape[:1] for array in arrays}) > 1 or any(
            array.ndim == 0 or array.size != len(array) for array in arrays
        ):
            raise HttpError(422, "Each input must be one column, and all of the same length.")
        values = [array.ravel().tolist() for array in arrays]
        return self.from_rows([list(row) for row in zip(*values, strict=True)])

    def count(self, value: pd.DataFrame) -> int:
        """Rows of the frame."""
        return len(value)

    def key(self, value: pd.DataFrame) -> Any:
        """The types of the columns: a frame must not change another one's by being joined."""
        return tuple(map(str, value.dtypes))

    def join(self, values: Sequence[pd.DataFrame]) -> pd.DataFrame:
        """One frame after the other."""
        return pd.concat(values, ignore_index=True)

    def _filled(self, rows: list[Any]) -> list[Any]:
        """The records with what they may lack."""
        if not self._optional or any(type(row) is not dict for row in rows):
            return rows
        missing = dict.fromkeys(self._optional)
        return [{**missing, **row} for row in rows]

    def _column(self, name: str, values: list[Any]) -> Any:
        for at, value in enumerate(values):
            if type(value) not in _SCALARS:
                message = f"must be a number, a string, a boolean or null, not {kind_of(value)}"
                raise HttpError(422, f"Row {at}: the feature `{name}` {message}.")
            if type(value) is int and abs(value) >> 63:
                raise HttpError(422, f"Row {at}: the feature `{name}` is beyond 64 bits.")
        kind = self._kinds.get(name)
        return self._typed(name, values) if kind is None else _of_kind(name, values, kind)

    def _typed(self, name: str, values: list[Any]) -> Any:
        dtype = self._dtypes.get(name)
        if dtype is None:
            return values
        place = f"The feature `{name}`"
        if dtype.startswith("datetime64"):
            return _moments(values, place)
        if None in values and dtype != "object" and np.dtype(dtype).kind != "f":
            raise HttpError(422, f"{place} is null, and must be of type {dtype}.")
        if dtype == "object":
            return _strings(values, place)
        return array_of(place, values, np.dtype(dtype))

    def _datatype(self, name: str) -> str:
        kind = self._kinds.get(name)
        return kind.datatype if kind else _DATATYPES.get(self._dtypes.get(name, ""), "BYTES")

    def _schema(self, name: str) -> JsonSchema:
        dtype = self._dtypes.get(name)
        if dtype is None:
            known = self._kinds.get(name)
            return {"type": list(known.json_types)} if known else {}
        kind = _JSON_TYPES.get(np.dtype(dtype).kind, "string")
        return {"type": [kind, "null"] if name in self._optional else kind}


def _of_kind(name: str, values: list[Any], kind: Kind) -> Any:
    """The column; a missing value is the same whether it is alone or among others."""
    if not kind.types.issuperset(map(type, values)):
        at = next(at for at, value in enumerate(values) if type(value) not in kind.types)
        problem = f"must be {kind.name}, not {kind_of(values[at])}"
        raise HttpError(422, f"Row {at}: the feature `{name}` {problem}.")
    if None not in values:
        return values
    if kind is NUMBER:
        return np.array(values, dtype=np.float64)
    return pd.Series(["", *values]).array[1:]  # what pandas makes of it among text


def _moments(values: list[Any], place: str) -> Any:
    try:
        return pd.to_datetime(pd.Series(values, dtype=object), format="ISO8601")
    except (ValueError, TypeError, OverflowError):
        raise HttpError(422, f"{place} must hold times such as 2026-01-31T12:00:00.") from None


def _strings(values: list[Any], place: str) -> list[Any]:
    _refuse(values, lambda value: value is None or type(value) is str, f"{place} must be a string")
    return values


def _refuse(values: list[Any], accepts: Callable[[Any], bool], problem: str) -> None:
    for at, value in enumerate(values):
        if not accepts(value):
            raise HttpError(422, f"{problem}, not {kind_of(value)} as in row {at}.")
