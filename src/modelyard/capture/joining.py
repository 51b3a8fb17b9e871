"""`python -m modelyard.capture.joining`: writes many small files of records into few larger ones.

It reads a `Joining` from stdin and tells of each new file in a line of stdout, a `Joined`. The
files themselves stay as they are: whoever asked decides what counts.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb

from modelyard.capture import rewriting
from modelyard.capture.jobs import Joined, Joining
from modelyard.capture.reading import literal
from modelyard.capture.sealing import ROW
from modelyard.domain.captured import JOINED

MOST_COLUMNS = 3000
"""Of a new file: those whose files have names that others do not are joined among themselves."""


def join(job: Joining) -> Iterator[Joined]:
    """Write files of one deployment and day into new ones, in their order."""
    with rewriting.connect(job.folder) as connection:
        for files in _together(connection, job):
            if len(files) > 1:
                yield _join(connection, job.folder, files)


def _together(connection: duckdb.DuckDBPyConnection, job: Joining) -> Iterator[list[Path]]:
    """Files that become one: no larger than wanted, and without too many different columns."""
    files: list[Path] = []
    columns: set[str] = set()
    size = 0
    for path in job.files:
        own = {name.lower() for name in connection.read_parquet(literal(path)).columns}
        length = path.stat().st_size
        if files and (size + length > job.most or len(columns | own) > MOST_COLUMNS):
            yield files
            files, columns, size = [], set(), 0
        files.append(path)
        columns |= own
        size += length
    yield files


def _join(connection: duckdb.DuckDBPyConnection, folder: Path, files: list[Path]) -> Joined:
    names = [path.stem for path in files]
    name = f"{JOINED}{hashlib.sha256(' '.join(names).encode()).hexdigest()[:32]}"
    source = connection.read_parquet(
        [literal(path) for path in files], union_by_name=True, hive_partitioning=False
    )
    records = source.filter(f"recorded_by <> '{ROW}'")  # first: each kind is found without others
    both = records.union(source.filter(f"recorded_by = '{ROW}'"))
    new = folder / f"{name}.parquet"
    size, digest = rewriting.write(both, new)
    counted = connection.execute(
        "SELECT count(*) FILTER (recorded_by <> $2), count(DISTINCT prediction_id) "
        "FILTER (recorded_by IN ('worker', 'gateway')) FROM read_parquet($1)",
        [literal(new), ROW],
    ).fetchone()
    rows, requests = counted or (0, 0)
    return Joined(
        name=name, parts=tuple(names), size=size, digest=digest, rows=rows, requests=requests
    )


if __name__ == "__main__":
    for one in join(Joining.model_validate_json(sys.stdin.buffer.read())):
        sys.stdout.write(f"{one.model_dump_json()}\n")
