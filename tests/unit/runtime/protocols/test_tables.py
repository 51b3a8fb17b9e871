from __future__ import annotations

import io
import math
import tracemalloc
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard_runtime.http.server import HttpError
from modelyard_runtime.protocols.mlflow import read_json
from modelyard_runtime.protocols.tables import (
    table_of_csv,
    table_of_inputs,
    table_of_instances,
    table_of_records,
    table_of_split,
)
from modelyard_runtime.signature import Table

ROWS = [[1, 2.5], [3, None]]


@pytest.mark.parametrize(
    ("read", "value", "columns", "rows"),
    [
        (table_of_split, {"columns": ["a", "b"], "data": ROWS}, ("a", "b"), ROWS),
        (table_of_split, {"columns": ["a", "b"], "data": ROWS, "index": [7, 8]}, ("a", "b"), ROWS),
        (table_of_split, {"columns": [0, 1], "data": ROWS}, ("0", "1"), ROWS),
        (table_of_split, {"data": ROWS}, None, ROWS),
        (table_of_split, {"columns": ["a"], "data": []}, ("a",), []),
        (table_of_records, [{"a": 1, "b": 2}, {"b": 4, "a": 3}], ("a", "b"), [[1, 2], [3, 4]]),
        (table_of_records, [{"a": 1}, {"b": 4}], ("a", "b"), [[1, None], [None, 4]]),
        (table_of_records, [], None, []),
        (table_of_instances, ROWS, None, ROWS),
        (table_of_instances, [{"a": 1}, {"a": 2}], ("a",), [[1], [2]]),
        (table_of_instances, ["x", "y"], None, [["x"], ["y"]]),
        (table_of_instances, [[[1, 2]], [[3, 4]]], None, [[[1, 2]], [[3, 4]]]),
        (table_of_inputs, {"a": [1, 2], "b": [3, 4]}, ("a", "b"), [[1, 3], [2, 4]]),
        (table_of_inputs, {"a": 1, "b": "x"}, ("a", "b"), [[1, "x"]]),
        (table_of_inputs, ROWS, None, ROWS),
    ],
)
def test_forms(read: Any, value: Any, columns: Any, rows: Any) -> None:
    assert read(value) == Table(columns, rows)


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (table_of_split, None),
        (table_of_split, {"columns": ["a"]}),
        (table_of_split, {"columns": ["a"], "data": {}}),
        (table_of_split, {"columns": ["a"], "data": [1]}),
        (table_of_split, {"columns": ["a"], "data": [[1, 2]]}),
        (table_of_split, {"columns": ["a", "a"], "data": [[1, 2]]}),
        (table_of_split, {"columns": [["a"]], "data": [[1]]}),
        (table_of_split, {"columns": "a", "data": [[1]]}),
        (table_of_split, {"columns": ["a"], "data": [[1]], "rows": 1}),
        (table_of_split, {"data": [[1], [1, 2]]}),
        (table_of_records, {"a": 1}),
        (table_of_records, [1]),
        (table_of_records, [{"a": 1}, []]),
        (table_of_instances, {}),
        (table_of_instances, "x"),
        (table_of_instances, [[1], [1, 2]]),
        (table_of_instances, [[1], 2]),
        (table_of_instances, [{"a": 1}, [1]]),
        (table_of_inputs, {"a": [1], "b": [1, 2]}),
        (table_of_inputs, {"a": [1, 2], "b": 3}),
        (table_of_inputs, None),
    ],
)
def test_what_is_no_table(read: Any, value: Any) -> None:
    with pytest.raises(HttpError) as caught:
        read(value)
    assert caught.value.status == 400


def test_records_that_lack_most_columns_cost_no_memory() -> None:
    records = [{f"c{number}": 1} for number in range(20_000)]
    tracemalloc.start()
    try:
        with pytest.raises(HttpError):
            table_of_records(records)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "text",
    [
        "a,b\n1,2\n",
        "a,b\r\n1,x\r\n2,y",
        '"a","b"\n"1","x, ""y"""\n',
        "a\n1\n\n2\n",
        "a,b\n1,\n,2\n",
        "a\nNaN\n1.5\n",
        "a\nTrue\nFalse\n",
        "a\n1e3\n-.5\n+2.\n",
        "a\n0x10\n1_000\n",
        "a\nTrue\n1\n",
        "a,b\n",
        "ä\nö\n",
        "a\n123456789012345678\n",
    ],
)
def test_csv_is_typed_as_pandas_does(text: str) -> None:
    table = table_of_csv(text)
    frame = pd.read_csv(io.StringIO(text))
    assert list(table.columns or ()) == list(frame.columns)
    assert [[_plain(value) for value in row] for row in table.rows] == [
        [_plain(value) for value in row] for row in frame.astype(object).to_numpy().tolist()
    ]


def _plain(value: Any) -> Any:
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    return None if missing else value


@given(st.lists(st.tuples(st.integers(-999, 999), st.floats(-1e6, 1e6)), min_size=1, max_size=8))
def test_numbers_survive_csv(rows: list[tuple[int, float]]) -> None:
    text = pd.DataFrame(rows, columns=["a", "b"]).to_csv(index=False)
    assert table_of_csv(text).rows == [list(row) for row in rows]


@pytest.mark.parametrize(
    "text", ["", "\n\n", "a,b\n1\n", "a,b\n1,2,3\n", "a,a\n1,2\n", 'a\n"1', f"a\n{'x' * 200_000}\n"]
)
def test_what_is_no_csv(text: str) -> None:
    with pytest.raises(HttpError) as caught:
        table_of_csv(text)
    assert caught.value.status == 400
    assert len(caught.value.message) < 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[" * 100_000,
        b'{"instances": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"instances": [NaN]}',
        b'{"instances": [1e999]}',
        b"\xff",
        b"null",
        b'"instances"',
        b"{}",
        b'{"instances": [], "inputs": []}',
        b'{"instances": [], "params": []}',
    ],
)
def test_what_is_no_body(body: bytes) -> None:
    with pytest.raises(HttpError) as caught:
        read_json(body)
    assert caught.value.status == 400


def test_params_are_kept_apart() -> None:
    assert read_json(b'{"instances": [[1]], "params": {"k": 2}}') == (Table(None, [[1]]), {"k": 2})
    assert read_json(b'{"instances": [[1]], "params": null}')[1] == {}


def test_a_long_cell_that_is_nearly_a_number_takes_no_time() -> None:
    """Read with the square of its length, this one would hold the worker for minutes."""
    cell = "1" * 100_000 + "x"
    assert table_of_csv(f"a\n{cell}\n").rows == [[cell]]
