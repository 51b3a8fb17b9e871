"""How files of records are written anew, out of others: within bounds, however large bodies are."""

from __future__ import annotations

from pathlib import Path

import duckdb

from modelyard.capture.sealing import finished

_MEMORY = "1GiB"
_GROUP = "32MiB"
"""Of rows that are kept in memory until they are written."""


def connect(folder: Path) -> duckdb.DuckDBPyConnection:
    """A database in memory.

    Args:
        folder: Where new files go, and what there is no room for meanwhile.
    """
    connection = duckdb.connect(
        config={
            "threads": 1,
            "memory_limit": _MEMORY,
            "temp_directory": str(folder / ".aside"),
            "preserve_insertion_order": False,  # else a group has so many rows, of whatever size
        }
    )
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def write(records: duckdb.DuckDBPyRelation, path: Path) -> tuple[int, str]:
    """Write a file, and give it its name once it is on the disk; its size and digest."""
    part = path.with_name(f".{path.name}.part")
    records.write_parquet(
        str(part), compression="zstd", overwrite=True, row_group_size_bytes=_GROUP
    )
    return finished(part, path)
