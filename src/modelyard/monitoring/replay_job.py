"""What the program that replays is told."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from modelyard.domain.columns import Columns
from modelyard.domain.difference import Tolerance
from modelyard.domain.replay import Choice
from modelyard.domain.values import Value


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
