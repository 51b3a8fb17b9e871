"""`PandasParameterType`: tables as a sample declares them. Imported when a script does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import StringIO
from typing import Any
from warnings import warn

import pandas as pd

from modelyard_runtime.compat.descriptions import Schema, describe
from modelyard_runtime.compat.parameter_types import AbstractParameterType

FORMAT = "pandas.DataFrame"
"""`format` of a table's schema, before `:` and the orientation."""

_ORIENTS = ("split", "records", "index", "columns", "values", "table")


class PandasParameterType(AbstractParameterType):
    """A table.

    Args:
        sample_input: A sample, whose columns and their types are the rule.
        enforce_column_type: Convert columns to the sample's types.
        enforce_shape: Require as many columns as the sample has.
        apply_column_names: Give columns the sample's names, by position. Deprecated.
        orient: How the table is written as JSON, as pandas names it.
    """

    def __init__(
        self,
        sample_input: Any,
        enforce_column_type: bool = True,
        enforce_shape: bool = True,
        apply_column_names: bool = False,
        orient: str = "records",
    ) -> None:
        if not isinstance(sample_input, pd.DataFrame):
            raise TypeError("the sample of a PandasParameterType must be a pandas DataFrame")
        if orient not in _ORIENTS:
            raise ValueError(f"the orientation must be one of {', '.join(_ORIENTS)}")
        super().__init__(sample_input)
        if apply_column_names:
            warn("apply_column_names is deprecated", DeprecationWarning, stacklevel=2)
        self.enforce_column_type = enforce_column_type
        self.enforce_shape = enforce_shape
        self.apply_column_names = apply_column_names
        self.orient = orient

    def deserialize_input(self, input_data: Any) -> Any:
        """A table from parsed JSON in the declared orientation.

        Raises:
            ValueError, TypeError, KeyError: It is none, or has other columns or types.
        """
        if isinstance(input_data, pd.DataFrame):
            return input_data
        if not isinstance(input_data, list | dict):
            raise ValueError("a table is expected as a list or a dictionary")
        text = StringIO(json.dumps(input_data))
        frame = pd.read_json(text, orient=self.orient, dtype=False)
        if self.apply_column_names:
            frame.columns = self.sample_input.columns.copy()
        if self.enforce_column_type:
            frame = self._typed(frame)
        if self.enforce_shape and frame.shape[1] != self.sample_input.shape[1]:
            expected = self.sample_input.shape[1]
            raise ValueError(f"{expected} columns are expected, and {frame.shape[1]} came")
        return frame

    def input_to_swagger(self) -> Schema:
        """The schema of the table in the declared orientation."""
        text = self.sample_input.to_json(orient=self.orient, date_format="iso")
        schema = describe(json.loads(text))
        for column, dtype in self.sample_input.dtypes.items():
            text_format = _FORMATS.get(dtype.kind)
            if text_format is not None:
                for cell in self._cells(schema, str(column)):
                    cell["format"] = text_format
        return {**schema, "format": f"{FORMAT}:{self.orient}"}

    def _typed(self, frame: pd.DataFrame) -> pd.DataFrame:
        known = self.sample_input.dtypes.to_dict()
        types = {column: known.get(column, object) for column in frame.columns}
        for column, dtype in types.items():
            if getattr(dtype, "kind", "") == "m":
                frame[column] = pd.to_timedelta(frame[column])
        return frame.astype(types)

    def _cells(self, schema: Schema, column: str) -> Iterator[Schema]:
        """The schemas of a column's values."""
        if self.orient == "records":
            yield schema["items"]["properties"][column]
        elif self.orient == "table":
            yield schema["properties"]["data"]["items"]["properties"][column]
        elif self.orient == "index":
            for row in schema["properties"].values():
                yield row["properties"][column]
        elif self.orient == "columns":
            yield from schema["properties"][column]["properties"].values()


def table_of(schema: Schema) -> Any:
    """A sample table from the schema of its rows."""
    columns = schema["items"]["properties"]
    frame = pd.DataFrame(schema["example"], columns=list(columns))
    types = {name: _dtype(column) for name, column in columns.items()}
    return frame.astype({name: dtype for name, dtype in types.items() if dtype is not None})


def _dtype(column: Schema) -> str | None:
    """The type of a column, where its schema tells."""
    if column["type"] == "integer":
        return str(column.get("format", "int64"))
    if column["type"] == "number":
        return "float32" if column.get("format") == "float" else "float64"
    if column.get("format") == "date-time":
        return "datetime64[ns]"
    return "bool" if column["type"] == "boolean" else None


_FORMATS = {"M": "date-time", "m": "timedelta"}
