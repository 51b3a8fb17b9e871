"""Measures how long a method takes: one row, and many at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import msgspec

from modelyard_runtime.frameworks.answers import Array

BATCH = 256
_LONGEST = 0.5
"""Seconds that one figure may take."""
_MOST = 200


class Speed(msgspec.Struct, frozen=True):
    """Seconds that scoring takes."""

    single: float
    """One row in a call."""
    batched: float
    """Each row, in calls of `BATCH`."""


def speed_of(method: Callable[[Array], Any], rows: Array) -> Speed:
    """Time a method on rows, of which there are at least `BATCH`."""
    single = _time(lambda: method(rows[:1]))
    return Speed(single, _time(lambda: method(rows[:BATCH])) / BATCH)


def _time(call: Callable[[], Any]) -> float:
    """The median, after a call that does not count."""
    call()
    taken: list[float] = []
    give_up = time.perf_counter() + _LONGEST
    while len(taken) < 3 or (len(taken) < _MOST and time.perf_counter() < give_up):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return median(taken)
