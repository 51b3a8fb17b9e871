"""How DuckDB is told which files to read."""

from __future__ import annotations

import glob
from pathlib import Path


def literal(path: Path) -> str:
    """A file by its path, which DuckDB would take for a pattern: a home may be `models [old]`."""
    return glob.escape(str(path))
