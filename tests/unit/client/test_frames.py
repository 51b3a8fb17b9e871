from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import duckdb
import pytest

from modelyard.client import frames
from modelyard.client.frames import Frame
from modelyard.errors import InvalidRequest


@pytest.fixture
def frame(tmp_path: Path) -> Frame:
    path = tmp_path / "answer.parquet"
    sql = "SELECT 7::BIGINT AS n, 'x' AS word, TIMESTAMPTZ '2026-01-02 03:04:05Z' AS at"
    with duckdb.connect() as connection:
        connection.sql(sql).write_parquet(str(path))
    return Frame(path.read_bytes())


def test_pandas_keeps_types(frame: Frame) -> None:
    table = frame.to_pandas()
    assert [str(kind.kind) for kind in table.dtypes[["n", "at"]]] == ["i", "M"]
    assert table.loc[0, "n"] == 7
    assert table.loc[0, "at"].isoformat() == "2026-01-02T03:04:05+00:00"


def test_it_is_shown_in_a_line(frame: Frame) -> None:
    assert repr(frame).startswith(f"Frame({len(frame.parquet):,} bytes")
    assert len(repr(frame)) < 100


@pytest.mark.parametrize("name", ["pandas", "polars", "pyarrow"])
def test_what_is_not_installed_is_named(
    frame: Frame, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    real = importlib.import_module

    def without(module: str) -> Any:
        if module.partition(".")[0] == name:
            raise ImportError(f"No module named '{name}'")
        return real(module)

    monkeypatch.setattr(frames, "import_module", without)
    method = {"pyarrow": "to_arrow"}.get(name, f"to_{name}")
    with pytest.raises(InvalidRequest, match=f"`{name}` is not installed") as raised:
        getattr(frame, method)()
    assert raised.value.hint == f"`pip install {name}`"
