"""What the program makes of files, without its process."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from modelyard.capture.encrypting import Encryption
from modelyard.monitoring.jobs import SketchedPart, SketchJob, TableJob
from modelyard.monitoring.sketches import CONCEALED, MOST_VALUES, Sketch, unpack
from modelyard.monitoring.sketching import Unreadable, sketch_records, sketch_table


def _sketch(part: SketchedPart) -> Sketch:
    return unpack(base64.b64decode(part.sketch))


def test_rows_of_files_by_the_hour(tmp_path: Path) -> None:
    paths = [tmp_path / "[a]*.parquet", tmp_path / "b.parquet", tmp_path / "old.parquet"]
    for path in paths[:2]:
        duckdb.sql(
            "SELECT make_timestamptz((1767610800 + i) * 1000000) AS time, 'row' AS recorded_by, "
            '0::INTEGER AS "row", i::DOUBLE AS "input:x", i % 2 = 0 AS "input:even", '
            'now() AS "input@since", \'id\' || i AS "input:id", '
            'CASE WHEN i < 5 THEN 1::BIGINT END AS "output:" FROM range(1800, 5400) t(i) '
            "UNION ALL BY NAME SELECT now() AS time, 'worker' AS recorded_by"
        ).write_parquet(str(path))
    duckdb.sql("SELECT now() AS time, 'worker' AS recorded_by").write_parquet(str(paths[2]))
    first, second = sketch_records(SketchJob(files=tuple(paths)))
    assert (first.rows, second.rows) == (3600, 3600)
    assert (second.begins - first.begins).total_seconds() == 3600
    sketch = _sketch(first)
    assert set(sketch.features) == {"input_x", "input_even", "input_id"}
    assert sketch.features["input_x"].numbers.mean == pytest.approx(np.arange(1800, 3600).mean())
    assert sketch.features["input_even"].values.counts == {"true": 1800, "false": 1800}
    assert sketch.features["input_id"].values.count == 3600
    assert len(sketch.features["input_id"].values.counts) == MOST_VALUES


def test_texts_of_numbers_are_kept_as_both(tmp_path: Path) -> None:
    paths = tmp_path / "text.parquet", tmp_path / "numbers.parquet"
    texts = "'5.1', '-2', '3e2', 'five', '', '007', 'NaN', NULL"
    for path, cells in zip(paths, (texts, "7.5"), strict=True):
        duckdb.sql(
            "SELECT '2026-01-05 12:00:00+00'::TIMESTAMPTZ AS time, 'row' AS recorded_by, "
            f'0::INTEGER AS "row", unnest([{cells}]) AS "input:x"'
        ).write_parquet(str(path))
    (part,) = sketch_records(SketchJob(files=paths))
    feature = _sketch(part).features["input_x"]
    assert (feature.numbers.count, feature.values.count) == (1, 7)
    assert feature.spelled.counts == {5.1: 1, -2: 1, 300: 1}
    assert feature.all_numbers.counts == {5.1: 1, -2: 1, 300: 1, 7.5: 1}


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_table_of_features(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "sent [1]*"  # no pattern
    table = duckdb.sql(
        'SELECT i / 10 AS hour, \'w\' AS "a ""word""; --", 3 AS input_known, 1 AS label, '
        "'inf'::DOUBLE AS endless FROM range(100) t(i)"
    )
    (table.write_csv if ending == ".csv" else table.write_parquet)(str(path))
    part = sketch_table(TableJob(path=path, ending=ending, output="label"))
    sketch = _sketch(part)
    assert sketch.rows == 100
    assert set(sketch.features) == {"input_hour", 'input_a "word"; --', "input_known", "output"}
    assert sketch.features["input_hour"].numbers.count == 100


_FILES: dict[str, Callable[[Path], object]] = {
    "no Parquet": lambda path: path.write_bytes(b"PAR1" + bytes(40) + b"PAR1"),
    "nothing": lambda path: path.write_bytes(b""),
    "without the column": lambda path: duckdb.sql("SELECT 1 AS a").write_parquet(str(path)),
    "without rows": lambda path: duckdb.sql("SELECT 1 AS label LIMIT 0").write_parquet(str(path)),
    "another file": lambda path: path.write_bytes(b"label\n1\n"),
}


@pytest.mark.parametrize("what", _FILES)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, what: str) -> None:
    path = tmp_path / "sent"
    _FILES[what](path)
    with pytest.raises(Unreadable):
        sketch_table(TableJob(path=path, ending=".parquet", output="label"))


def test_encrypted_values_are_one(tmp_path: Path) -> None:
    encryption = Encryption(X25519PrivateKey.generate().public_key().public_bytes_raw())
    cells = [encryption.encrypt(f"{number}@example.org") for number in range(20)]
    path = tmp_path / "sent.csv"
    path.write_text("mail\n" + "\n".join([*cells, "enc:short", "plain"]) + "\n")
    sketch = _sketch(sketch_table(TableJob(path=path, ending=".csv")))
    assert sketch.features["input_mail"].values.counts == {
        CONCEALED: 20,
        "enc:short": 1,
        "plain": 1,
    }
