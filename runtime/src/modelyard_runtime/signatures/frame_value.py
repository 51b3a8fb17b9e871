"""Parameters annotated with a pandas data frame. Imported only where a script uses some."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from modelyard_runtime.signature import JsonSchema, Table
from modelyard_runtime.signatures.bodies import Text, read_json
from modelyard_runtime.signatures.columns import column_of
from modelyard_runtime.signatures.values import Value
from modelyard_runtime.signatures.wording import at, kind_of, unfit
from modelyard_runtime.tensors import Tensor

_RECORDS: JsonSchema = {"type": "array", "items": {"type": "object"}}
_SPLIT: JsonSchema = {
    "type": "object",
    "properties": {
        "columns": {"type": "array", "items": {"type": "string"}},
        "data": {"type": "array", "items": {"type": "array", "items": {}}},
        "index": {"type": "array", "items": {}},
    },
    "required": ["columns", "data"],
}
_COLUMNS: JsonSchema = {"type": "object", "additionalProperties": {"type": ["array", "object"]}}
_SPLIT_KEYS = {"columns", "data", "index"}


class FrameValue(Value):
    """A data frame from records, from `columns` and `data`, or from columns by name."""

    schema: JsonSchema = {"anyOf": [_RECORDS, _SPLIT, _COLUMNS]}

    def parse(self, name: str, text: Text) -> Any:
        """The frame of any of the forms."""
        return self.build(name, read_json(text))

    def build(self, name: str, value: Any) -> Any:
        """The frame of any of the forms."""
        if type(value) is list:
            return _of_rows(name, value)
        if type(value) is not dict:
            raise unfit(name, f"expected rows or columns, got {kind_of(value)}")
        if {"columns", "data"} <= value.keys() <= _SPLIT_KEYS and type(value["data"]) is list:
            return _of_split(name, value)
        return _of_columns(name, value)

    def from_tensors(self, name: str, tensors: Sequence[Tensor]) -> Any:
        """A column for each tensor; one with two dimensions alone is the whole frame."""
        if len(tensors) == 1 and len(tensors[0].shape) == 2:
            return pd.DataFrame(tensors[0].json_values())
        if any(not tensor.shape for tensor in tensors):
            raise unfit(name, "its tensors must have rows")
        return _of_columns(name, {tensor.name: column_of(tensor) for tensor in tensors})

    def from_table(self, name: str, table: Table) -> Any:
        """The table itself."""
        return pd.DataFrame(table.rows, columns=list(table.columns) if table.columns else None)


def _of_rows(name: str, rows: list[Any]) -> pd.DataFrame:
    """Records, or lists whose columns have no names."""
    kind = type(rows[0]) if rows else dict
    if kind not in (dict, list):
        raise unfit(at(name, [0]), f"expected an object, got {kind_of(rows[0])}")
    for index, row in enumerate(rows):
        if type(row) is not kind:
            wanted = "an object" if kind is dict else "an array"
            raise unfit(at(name, [index]), f"expected {wanted}, got {kind_of(row)}")
        if len(row) != len(rows[0]) or (kind is dict and row.keys() != rows[0].keys()):
            raise _unlike(name, index, row, rows[0])
    return pd.DataFrame(rows)


def _unlike(name: str, index: int, row: Any, first: Any) -> Exception:
    if isinstance(row, list):
        return unfit(at(name, [index]), f"expected {len(first)} values, got {len(row)}")
    missing = sorted(first.keys() - row.keys())
    if missing:
        return unfit(at(name, [index, missing[0]]), "is missing; the first row has it")
    extra = sorted(row.keys() - first.keys())
    return unfit(at(name, [index, extra[0]]), "is not known; the first row does not have it")


def _of_split(name: str, value: dict[str, Any]) -> pd.DataFrame:
    columns, rows, index = value["columns"], value["data"], value.get("index")
    if type(columns) is not list:
        raise unfit(f"{name}.columns", f"expected an array, got {kind_of(columns)}")
    for number, row in enumerate(rows):
        if type(row) is not list or len(row) != len(columns):
            got = len(row) if type(row) is list else kind_of(row)
            raise unfit(at(f"{name}.data", [number]), f"expected {len(columns)} values, got {got}")
    if index is not None and (type(index) is not list or len(index) != len(rows)):
        raise unfit(f"{name}.index", "expected an array with an entry for each row")
    return pd.DataFrame(rows, columns=columns, index=index)


def _of_columns(name: str, columns: dict[str, Any]) -> pd.DataFrame:
    """Columns as lists, or as objects by the index, as pandas writes them."""
    lengths = set()
    for column, values in columns.items():
        if type(values) not in (list, dict):
            raise unfit(f"{name}.{column}", f"expected an array, got {kind_of(values)}")
        lengths.add(len(values))
    if len(lengths) > 1:
        raise unfit(name, "the columns differ in length")
    return pd.DataFrame(columns)
