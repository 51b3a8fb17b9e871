"""The gateway's log: JSON lines on stderr, and not more than so many a second."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime


class JsonLines(logging.Formatter):
    """One line a record, whatever the record holds: control characters are escaped."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a JSON object in ASCII."""
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "message": record.getMessage()[:4000],
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)[-8000:]
        return json.dumps(entry).replace("\x7f", "\\u007f")


class RateLimit(logging.Filter):
    """Lets so many records a second through, and says how many it did not."""

    def __init__(self, per_second: int) -> None:
        super().__init__()
        self._per_second = per_second
        self._second = 0
        self._passed = 0
        self._suppressed = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is logged."""
        if int(record.created) != self._second:
            self._second, self._passed = int(record.created), 0
        if self._passed >= self._per_second:
            self._suppressed += 1
            return False
        self._passed += 1
        if self._suppressed:
            record.msg = f"{record.getMessage()} (after {self._suppressed} lines not logged)"
            record.args = None
            self._suppressed = 0
        return True


def log_to_stderr() -> None:
    """Send everything that is logged, by us or by a library, to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    handler.addFilter(RateLimit(per_second=20))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
