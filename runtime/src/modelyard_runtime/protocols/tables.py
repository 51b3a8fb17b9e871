"""Tables from the bodies that MLflow's clients send: JSON in its four forms, and CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence
from typing import Any

from modelyard_runtime.http.server import HttpError
from modelyard_runtime.signature import Table

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_BOOLEANS = {"True": True, "False": False, "TRUE": True, "FALSE": False}
_BOOLEANS |= {"true": True, "false": False}
_MISSING = frozenset({"", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "n/a", "<NA>"})
_FREE_CELLS = 1_000_000
_CELLS_A_VALUE = 8
"""What the cells that records lack may come to: they cost the client nothing, and us memory."""


def table_of_split(split: Any) -> Table:
    """`{"columns": […], "data": [[…], …]}`; an `index` is for the client alone.

    Raises:
        HttpError: 400
    """
    if type(split) is not dict or type(split.get("data")) is not list:
        raise _wrong("dataframe_split", "must be an object with `data`, a list of rows")
    if unknown := split.keys() - {"columns", "data", "index"}:
        raise _wrong("dataframe_split", f"has `{sorted(unknown)[0][:60]}`, which means nothing")
    rows = split["data"]
    if set(map(type, rows)) - {list}:
        raise _wrong("dataframe_split", "must have lists for rows")
    columns = split.get("columns")
    if columns is None:
        return Table(None, _even("dataframe_split", rows))
    if type(columns) is not list or set(map(type, columns)) - {str, int}:
        raise _wrong("dataframe_split", "must have names for `columns`")
    names = _unique("dataframe_split", [str(column) for column in columns])
    if set(map(len, rows)) - {len(names)}:
        raise _wrong("dataframe_split", f"has rows that are not {len(names)} long, as `columns` is")
    return Table(names, rows)


def table_of_records(records: Any, key: str = "dataframe_records") -> Table:
    """`[{column: value, …}, …]`; a value that a record lacks is None.

    Raises:
        HttpError: 400
    """
    if type(records) is not list or set(map(type, records)) - {dict}:
        raise _wrong(key, "must be a list of objects")
    if not records:
        return Table(None, [])
    first = tuple(records[0])
    if all(tuple(record) == first for record in records):
        return Table(first, [list(record.values()) for record in records])
    columns = tuple(dict.fromkeys(name for record in records for name in record))
    given = sum(map(len, records))
    if len(columns) * len(records) > _FREE_CELLS + _CELLS_A_VALUE * given:
        raise _wrong(key, "has too many columns that most of its records lack")
    return Table(columns, [[record.get(name) for name in columns] for record in records])


def table_of_instances(instances: Any, key: str = "instances") -> Table:
    """One item for each row: a list, an object, or a value for a table of one column.

    Raises:
        HttpError: 400
    """
    if type(instances) is not list:
        raise _wrong(key, "must be a list")
    kinds = set(map(type, instances))
    if kinds == {dict}:
        return table_of_records(instances, key)
    if kinds == {list}:
        return Table(None, _even(key, instances))
    if kinds & {dict, list}:
        raise _wrong(key, "must hold rows of one kind: lists, objects or values")
    return Table(None, [[value] for value in instances])


def table_of_inputs(inputs: Any) -> Table:
    """Columns by name, each a list as long as there are rows; or rows, as in `instances`.

    Raises:
        HttpError: 400
    """
    if type(inputs) is not dict:
        return table_of_instances(inputs, "inputs")
    columns = [value if type(value) is list else [value] for value in inputs.values()]
    if len(set(map(len, columns))) > 1:
        raise _wrong("inputs", "must have lists of one length")
    return Table(tuple(inputs), [list(row) for row in zip(*columns, strict=True)])


def table_of_csv(text: str) -> Table:
    """Columns by the first line. A column is of integers, numbers or booleans if all of it is.

    Raises:
        HttpError: 400, it is not CSV, or a line has not as many fields as the first.
    """
    try:
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), strict=True) if line]
    except csv.Error as error:
        raise HttpError(400, f"The body is not CSV: {error}.") from None
    if not lines:
        raise HttpError(400, "The body is empty; CSV with a line of column names is expected.")
    names = _unique("csv", lines[0])
    for number, line in enumerate(lines[1:], 2):
        if len(line) != len(names):
            wanted = f"{len(line)} fields instead of {len(names)}"
            raise HttpError(400, f"The body is not CSV of one shape: row {number} has {wanted}.")
    columns = [_typed(column) for column in zip(*lines[1:], strict=True)]
    return Table(names, [list(row) for row in zip(*columns, strict=True)])


def _typed(column: Sequence[str]) -> Sequence[Any]:
    """The values of a column, typed as `pandas.read_csv` would; None where there is none."""
    given = {text for text in column if text not in _MISSING}
    read: Callable[[str], Any] = str
    if given and all(map(_INTEGER.fullmatch, given)):
        read = int
    elif given and all(map(_NUMBER.fullmatch, given)):
        read = float
    elif given and given <= _BOOLEANS.keys():
        read = _BOOLEANS.__getitem__
    return [None if text in _MISSING else read(text) for text in column]


def _even(key: str, rows: list[list[Any]]) -> list[list[Any]]:
    if len(set(map(len, rows))) > 1:
        raise _wrong(key, "must have rows of one length")
    return rows


def _unique(key: str, names: list[str]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise _wrong(key, "has a column twice")
    return tuple(names)


def _wrong(key: str, problem: str) -> HttpError:
    return HttpError(400, f"`{key}` {problem}.")
