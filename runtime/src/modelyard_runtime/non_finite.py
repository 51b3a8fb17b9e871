"""Finds NaN and infinities in results: JSON has no word for them, and null is sent instead."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from math import isfinite
from typing import Any

_ARRAYS = ("numpy", "pandas")


def has_non_finite(result: Any) -> bool:
    """Whether a number somewhere in a result is NaN or infinite. Called only when null was sent."""
    waiting = deque([result])
    while waiting:
        value = waiting.popleft()
        if isinstance(value, float):
            if not isfinite(value):
                return True
        elif isinstance(value, list | tuple):
            waiting.extend(value)
        elif isinstance(value, Mapping):
            waiting.extend(value.values())
        elif type(value).__module__.partition(".")[0] in _ARRAYS:
            waiting.append(_plain(value))
    return False


def _plain(value: Any) -> Any:
    """Lists of an array or a series, columns of a table."""
    for convert in ("tolist", "to_dict"):
        if hasattr(value, convert):
            return getattr(value, convert)()
    return None
