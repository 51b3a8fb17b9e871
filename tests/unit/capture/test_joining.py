"""Files are written anew within bounds of memory."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from modelyard.capture import rewriting
from modelyard.capture.forgetting import forget
from modelyard.capture.jobs import Forgetting, Joining
from modelyard.capture.joining import join

ROWS = 25
BODY = 640_000
FILES = 20


def test_bodies_that_are_larger_than_memory_are_joined_and_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewriting, "_MEMORY", "256MiB")  # of 320 MB that compress to nothing
    monkeypatch.setattr(rewriting, "_GROUP", "8MiB")
    files = [tmp_path / f"{number}.parquet" for number in range(FILES)]
    for number, path in enumerate(files):
        duckdb.sql(
            f"SELECT now() AS time, '{number}-' || i AS prediction_id, 'worker' AS recorded_by, "
            f"""('{{"id": ' || i || ', "data": "' || repeat(md5(i::VARCHAR), {BODY // 32}) """
            """|| '"}')::JSON AS inputs, NULL::JSON AS outputs, NULL::INTEGER AS "row" """
            f"FROM range({ROWS}) numbers(i)"
        ).write_parquet(str(path), compression="zstd")
    folder = tmp_path / "new [1]*"  # no pattern
    folder.mkdir()
    (joined,) = join(Joining(files=tuple(files), folder=folder, most=1 << 30))
    assert (joined.rows, joined.requests, len(joined.parts)) == (ROWS * FILES, ROWS * FILES, FILES)

    whole = folder / f"{joined.name}.parquet"
    again = tmp_path / "again"
    again.mkdir()
    wanted = Forgetting(files=(whole,), folder=again, field="id", value=7, key="00")
    (rewritten,) = forget(wanted)
    assert (rewritten.rows, rewritten.forgotten) == ((ROWS - 1) * FILES, FILES)
    assert [path.name for path in again.iterdir() if path.is_file()] == [whole.name]
