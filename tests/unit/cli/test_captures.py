from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from tests.unit.cli.conftest import Run

from modelyard.cli import capture, output


@pytest.mark.parametrize("name", ["answers.csv", "answers.parquet"])
@pytest.mark.parametrize("rows", [0, 1, 3])
def test_an_export_says_how_many_rows_it_wrote(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, rows: int
) -> None:
    table = duckdb.sql(f"SELECT i, repeat('a\nb', 50000) AS text FROM range({rows}) numbers(i)")
    path = tmp_path / name
    (table.write_csv if path.suffix == ".csv" else table.write_parquet)(str(path))
    capture._show_path(path, output.Format.TABLE)
    shown = capsys.readouterr()
    assert shown.out == f"{path}\n"
    assert shown.err == f"wrote {rows} {'row' if rows == 1 else 'rows'}\n"


def test_a_truth_is_given_by_itself_or_in_a_file(run: Run) -> None:
    both = run("service", "feedback", "digits", "ID", "1", "--file", "f.csv", code=2)
    assert "not both" in both.stderr


def test_a_time_that_is_none_is_told_how_to_be_written(run: Run) -> None:
    refused = run("service", "quality", "digits", "--since", "yesterday", code=2)
    assert "`2026-11-28T14:00`" in refused.stderr
