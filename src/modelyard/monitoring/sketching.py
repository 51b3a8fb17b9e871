"""`python -m modelyard.monitoring.sketching`: what is kept of files of rows.

It reads a `SketchJob`, or with `table` a `TableJob`, from stdin and writes a `Sketched` in JSON to
stdout; or, with status 1, says in one line of stderr why not. Files are strangers': it has limits,
and what DuckDB does with them stays in this process.
"""

from __future__ import annotations

import base64
import os
import resource
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import numpy as np

from modelyard.capture.asking import close
from modelyard.capture.cells import PLAIN, SIDES
from modelyard.capture.encrypting import CIPHERTEXT
from modelyard.capture.reading import literal
from modelyard.capture.sealing import ROW, identifier
from modelyard.monitoring.jobs import Sketched, SketchedPart, SketchJob, TableJob
from modelyard.monitoring.sketches import (
    CONCEALED,
    LONGEST_VALUE,
    MOST_FEATURES,
    MOST_VALUES,
    Feature,
    Sketch,
    pack,
)

MEMORY = 1 << 30
"""Bytes that DuckDB may use."""
ALL_MEMORY = 4 << 30
"""Bytes of address space of the whole process."""
SECONDS = 300
"""Processor time."""
_HOUR = 3600
_NUMBERS = {
    *("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER"),
    *("UBIGINT", "UHUGEINT", "FLOAT", "DOUBLE"),
}
_WORDS = {"VARCHAR", "BOOLEAN"}
_SPELLED = r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?"
"""A number as JSON has it."""


class Unreadable(Exception):
    """A file is no table; the message says why."""


def sketch_records(job: SketchJob) -> Iterator[SketchedPart]:
    """What is kept of the rows of captured files, hour by hour."""
    whole: dict[int, Sketch] = {}
    for path in job.files:
        with _connect(path) as connection:
            for hour, sketch in _of_records(connection, path).items():
                whole.setdefault(hour, Sketch()).merge(sketch)
    for hour, sketch in sorted(whole.items()):
        begins = datetime.fromtimestamp(hour * _HOUR, UTC)
        yield SketchedPart(begins=begins, rows=sketch.rows, sketch=_text(sketch))


def _of_records(connection: duckdb.DuckDBPyConnection, path: Path) -> dict[int, Sketch]:
    records = connection.read_parquet(literal(path), hive_partitioning=False)
    if "row" not in records.columns:  # of before there were such
        return {}
    rows = records.filter(f"recorded_by = '{ROW}'")
    hour = f"floor(epoch(time) / {_HOUR})::BIGINT"
    return _by_hour(connection, rows, hour, _features_of_rows(records.columns))


def sketch_table(job: TableJob) -> SketchedPart:
    """What is kept of the rows of a table with one column for each feature.

    Raises:
        Unreadable: The file is no such table.
    """
    with _connect(job.path) as connection:
        read = connection.read_csv if job.ending == ".csv" else connection.read_parquet
        try:
            table = read(literal(job.path))
            features = dict(_features_of_table(table.columns, job))
            sketches = _by_hour(connection, table, "0::BIGINT", features)
        except duckdb.Error as error:
            raise Unreadable(str(error).strip().splitlines()[0]) from error
    if not sketches:
        raise Unreadable("it has no rows")
    sketch = sketches[0]
    return SketchedPart(
        begins=datetime.now(UTC),
        rows=sketch.rows,
        sketch=_text(sketch),
        features=tuple(sketch.features),
    )


def _connect(path: Path) -> duckdb.DuckDBPyConnection:
    limits: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": f"{MEMORY >> 20}MiB",
        "threads": min(2, os.cpu_count() or 1),
        "temp_directory": "",
    }
    connection = duckdb.connect(config=limits)
    close(connection, [path])
    return connection


def _features_of_rows(columns: Sequence[str]) -> dict[str, str]:
    """Names of features by columns: `input:age` is `input_age`, `output:` is `output`.

    Times are no features: they go on, and would always drift.
    """
    found = {}
    for column in columns:
        side, mark, name = column.partition(PLAIN)
        if mark and side in SIDES:
            found[column] = f"{side}_{name}" if name else side
    return dict(list(found.items())[:MOST_FEATURES])


def _features_of_table(columns: Sequence[str], job: TableJob) -> Iterator[tuple[str, str]]:
    """Names of features by columns of a table; those of `rows` stay as they are."""
    if job.output is not None and job.output not in columns:
        raise Unreadable(
            f"it has no column `{job.output[:100]}`, but {', '.join(columns[:20])[:500]}"
        )
    for column in columns[:MOST_FEATURES]:
        if column == job.output:
            yield column, job.output_name
        elif column.startswith(("input_", "output_")) or column == "output":
            yield column, column
        else:
            yield column, f"input_{column}"


def _by_hour(
    connection: duckdb.DuckDBPyConnection,
    rows: duckdb.DuckDBPyRelation,
    hour: str,
    features: dict[str, str],
) -> dict[int, Sketch]:
    """Sketches of rows by what SQL says their hour is."""
    cells = (f", {identifier(column)} AS f{i}" for i, column in enumerate(features))
    rows.project(f"{hour} AS hour{''.join(cells)}").create("part")
    part = connection.table("part")
    found: dict[int, Sketch] = {}
    for number, count in part.aggregate("hour, count(*)").fetchall():
        found[number] = Sketch()
        found[number].rows = count
    for i, (name, kind) in enumerate(zip(features.values(), part.types[1:], strict=True)):
        if str(kind) in _NUMBERS or str(kind).startswith("DECIMAL"):
            for feature, numbers in _numbers(part, f"f{i}", name, found):
                feature.numbers.add(numbers)
        elif str(kind) in _WORDS:
            _add_words(part, f"f{i}", name, found)
            if str(kind) == "VARCHAR":
                spelled = part.filter(f"regexp_full_match(f{i}, '{_SPELLED}')")
                for feature, numbers in _numbers(spelled, f"f{i}", name, found):
                    feature.spelled.add(numbers)
    return found


def _numbers(
    part: duckdb.DuckDBPyRelation, cell: str, name: str, found: dict[int, Sketch]
) -> Iterator[tuple[Feature, np.ndarray]]:
    """Finite numbers of each hour, and what is to keep them."""
    numbers = part.project(f"hour, try_cast({cell} AS DOUBLE) AS cell").filter("isfinite(cell)")
    read = numbers.order("hour").fetchnumpy()
    hours, cells = np.asarray(read["hour"]), np.asarray(read["cell"], dtype=np.float64)
    for hour in np.unique(hours).tolist():
        feature = found[hour].feature(name)
        if feature is not None:
            first, last = np.searchsorted(hours, [hour, hour + 1])
            yield feature, cells[first:last]


def _add_words(
    part: duckdb.DuckDBPyRelation, cell: str, name: str, found: dict[int, Sketch]
) -> None:
    """The most frequent ones by name, and how many there are of others; encrypted ones are one."""
    words = part.filter(f"{cell} IS NOT NULL").project(
        f"hour, CASE WHEN regexp_full_match({cell}::VARCHAR, '{CIPHERTEXT}') THEN '{CONCEALED}' "
        f"ELSE left({cell}::VARCHAR, {LONGEST_VALUE}) END AS word"
    )
    ranked = words.aggregate("hour, word, count(*) AS n").project(
        "hour, word, n, row_number() OVER (PARTITION BY hour ORDER BY n DESC, word) AS place"
    )
    kept = ranked.project(f"hour, CASE WHEN place <= {MOST_VALUES} THEN word END AS word, n")
    for hour, word, count in kept.aggregate("hour, word, sum(n)::BIGINT").fetchall():
        feature = found[hour].feature(name)
        if feature is None:
            continue
        if word is None:
            feature.values.add([], others=count)
        else:
            feature.values.add([(word, count)])


def _text(sketch: Sketch) -> str:
    return base64.b64encode(pack(sketch)).decode()


def main() -> int:
    """Do the job on stdin."""
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_AS, (ALL_MEMORY, ALL_MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    told = sys.stdin.buffer.read()
    try:
        if sys.argv[1:] == ["table"]:
            parts: tuple[SketchedPart, ...] = (sketch_table(TableJob.model_validate_json(told)),)
        else:
            parts = tuple(sketch_records(SketchJob.model_validate_json(told)))
    except (Unreadable, duckdb.Error, MemoryError) as error:
        sys.stderr.write(f"{str(error).strip().splitlines()[0] if str(error) else 'no memory'}\n")
        return 1
    sys.stdout.write(Sketched(parts=parts).model_dump_json())
    return 0


if __name__ == "__main__":
    sys.exit(main())
