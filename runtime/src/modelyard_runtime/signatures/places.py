"""Finds the keys that msgspec leaves out of the places it names, such as `$[...].width`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]|\[\.\.\.\]")


def spell_out(path: str, value: Any, fails: Callable[[], bool]) -> str:
    """A path with the keys of dictionaries in it.

    Args:
        path: As msgspec writes it, behind `$`.
        value: The parsed JSON; left with fewer members than it had.
        fails: Whether the value as it is now does not fit.
    """
    here, written = value, ""
    for step in _STEP.finditer(path):
        if step[1] is not None:
            here, part = here[step[1]], step[0]
        elif step[2] is not None:
            here, part = here[int(step[2])], step[0]
        else:
            key = _first_wrong(here, fails)
            here, part = here[key], f".{key}"
        written += part
    return written


def _first_wrong(members: dict[str, Any], fails: Callable[[], bool]) -> str:
    """The first member without which, and all behind it, the whole would fit: by halving."""
    items = list(members.items())
    low, high = 0, len(items) - 1
    while low < high:
        middle = (low + high) // 2
        _keep(members, items[: middle + 1])
        if fails():
            high = middle
        else:
            low = middle + 1
    _keep(members, items[: low + 1])
    return items[low][0]


def _keep(members: dict[str, Any], items: list[tuple[str, Any]]) -> None:
    members.clear()
    members.update(items)
