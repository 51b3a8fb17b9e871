"""What a gateway asks of a worker with each request that is to be recorded: one header field.

That the request itself says it makes a switch exact and free: nothing is told beforehand, so no
replica restarts, and none records a request that the gateway has not counted.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from modelyard_runtime.capture.rules import Rules
from modelyard_runtime.capture.spool import Bounds

FIELD = b"x-modelyard-capture"
PREDICTION = b"x-prediction-id"
"""Names the answer, where the caller has chosen the id of the request; else that one does."""
SEEN_TO = (FIELD, b"1")
"""In an answer: the request was recorded, or counted as dropped."""
_RULES = "rules="
_COLLECTED_ONLY = "collected;"


class Wanted(NamedTuple):
    """How one request is to be recorded."""

    key: str
    """Public part of the caller's key; empty: there was none."""
    bounds: Bounds
    rules: Rules | None = None
    """What of it; None: all."""
    attempt: int = 1
    """How often it has been sent to a worker, this time included: one before may have recorded it.
    """
    is_collected_only: bool = False
    """The gateway records the request; a worker only what its script collects."""

    def encode(self) -> bytes:
        """The value of the field."""
        space, when_full, durable = self.bounds
        # Where a runtime older than rules expects a number, so that it leaves the request to the
        # gateway instead of recording what it may not.
        rules = f"{_RULES}{self.rules.encode()};" if self.rules else ""
        rules += _COLLECTED_ONLY if self.is_collected_only else ""
        again = f";{self.attempt}" if self.attempt > 1 else ""
        return f"{self.key};{rules}{space};{when_full};{int(durable)}{again}".encode("latin-1")


@lru_cache(maxsize=256)
def parse(value: bytes) -> Wanted | None:
    """Read the value of the field; None for what is none."""
    parts = value.decode("latin-1").split(";")
    rules = None
    if len(parts) > 1 and parts[1].startswith(_RULES):
        try:
            rules = Rules.parse(parts.pop(1).removeprefix(_RULES))
        except ValueError:
            return None
    is_collected_only = len(parts) > 1 and f"{parts[1]};" == _COLLECTED_ONLY
    if is_collected_only:
        parts.pop(1)
    if len(parts) < 3 or not parts[1].isdecimal():
        return None
    key, space, when_full, *more = parts
    attempt = int(more[1]) if len(more) > 1 and more[1].isdecimal() else 1
    bounds = Bounds(int(space), when_full, more[:1] == ["1"])
    return Wanted(key, bounds, rules, attempt, is_collected_only)
