"""What the program of this folder is told, and tells. Whoever starts it needs no numpy for it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from modelyard.domain.values import Value


class SketchJob(Value):
    """Files of captured records."""

    files: tuple[Path, ...]


class TableJob(Value):
    """A table with a column for each feature."""

    path: Path
    ending: str
    """Of its name: `.csv` or `.parquet`."""
    output: str | None = None
    """The column that is the model's answer; None: the one that is called so, if any."""
    output_name: str = "output"
    """What it is called in captured rows."""


class SketchedPart(Value):
    """What is kept of the rows of one hour."""

    begins: datetime
    rows: int
    sketch: str
    """In base64."""
    features: tuple[str, ...] = ()
    """Of a table."""


class Sketched(Value):
    """What is kept of all files."""

    parts: tuple[SketchedPart, ...]
