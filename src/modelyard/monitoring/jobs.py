"""What the programs of this folder are told, and tell. Starting them needs no numpy."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from modelyard.domain.columns import Columns
from modelyard.domain.difference import Tolerance
from modelyard.domain.quality import AskQuality, MeasuredQuality, Task
from modelyard.domain.replay import Choice
from modelyard.domain.values import Value

RECORDED = (
    "prediction_id, time, coalesce(image, ''), path, status, seconds, coalesce(code, ''), "
    "coalesce(input_bytes, encode(inputs::VARCHAR)), coalesce(input_type, ''), input_size, "
    "coalesce(output_bytes, encode(outputs::VARCHAR)), output_size, coalesce(withheld, '')"
)
"""The columns of `requests` that a `Recorded` is made of, in SQL."""


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


class Measuring(Value):
    """Of which answers the quality is to be measured."""

    files: tuple[Path, ...]
    """Of one service; of all times, if `unmatched` is to mean something."""
    aside: Path
    """Folder for what there is no room for; made, if need be."""
    asked: AskQuality
    counts_unmatched: bool = True


class Figures(Value):
    """How good answers were."""

    task: Task | None
    measured: tuple[MeasuredQuality, ...]
    unmatched: int | None


class Replaying(Value):
    """Which requests are to be scored again, and by whom."""

    files: tuple[Path, ...]
    """Of records of one service, and of truths that were told of them."""
    aside: Path
    """An empty folder for what is not kept."""
    columns: Columns = Columns()
    """What the candidate declares of its rows."""
    most: int
    """Requests; what there is beyond is left."""
    choice: Choice
    since: datetime | None = None
    """Only those that were answered from then on."""
    until: datetime | None = None
    """Only those that were answered before then."""
    altered: bool = False
    """Also those whose inputs a rule has altered."""
    tolerance: Tolerance
    socket: Path
    """Where the candidate listens."""
    concurrency: int
    """Requests in flight."""
    patience: float
    """Seconds for an answer."""
