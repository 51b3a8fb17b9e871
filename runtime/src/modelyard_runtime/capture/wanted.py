"""What a gateway asks of a worker with each request that is to be recorded: one header field.

That the request itself says it makes a switch exact and free: nothing is told beforehand, so no
replica restarts, and none records a request that the gateway has not counted.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from modelyard_runtime.capture.spool import Bounds

FIELD = b"x-modelyard-capture"
PREDICTION = b"x-prediction-id"
"""Names the answer, where the caller has chosen the id of the request; else that one does."""
SEEN_TO = (FIELD, b"1")
"""In an answer: the request was recorded, or counted as dropped."""


class Wanted(NamedTuple):
    """How one request is to be recorded."""

    key: str
    """Public part of the caller's key; empty: there was none."""
    bounds: Bounds

    def encode(self) -> bytes:
        """The value of the field."""
        space, when_full, durable = self.bounds
        return f"{self.key};{space};{when_full};{int(durable)}".encode("latin-1")


@lru_cache(maxsize=256)
def parse(value: bytes) -> Wanted | None:
    """Read the value of the field; None for what is none."""
    parts = value.decode("latin-1").split(";")
    if len(parts) < 3 or not parts[1].isdecimal():
        return None
    key, space, when_full, *more = parts
    return Wanted(key, Bounds(int(space), when_full, more[:1] == ["1"]))
