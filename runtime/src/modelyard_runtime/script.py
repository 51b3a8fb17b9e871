"""What a scoring script may import from this package."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, overload

_ATTRIBUTE = "__modelyard_batch__"
_UNITS = {"ms": 0.001, "s": 1.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s)")
_Run = TypeVar("_Run", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class BatchMark:
    """What `@batchable` says of a `run`."""

    max_rows: int | None
    """Rows of one call; None: what the service is set to."""
    max_wait: float | None
    """Seconds that a request may wait for others; None: what the service is set to."""


@overload
def batchable(run: _Run, /) -> _Run: ...
@overload
def batchable(
    *, max_rows: int | None = None, max_wait: str | None = None
) -> Callable[[_Run], _Run]: ...
def batchable(
    run: Any = None, /, *, max_rows: int | None = None, max_wait: str | None = None
) -> Any:
    """Declare that rows of different requests may be scored in one call of `run`.

    `run` takes a list of rows, an array or a data frame, and returns one answer for each row, in
    their order; a row's answer does not depend on the other rows.

    Args:
        run: The function, where the decorator is used without parentheses.
        max_rows: Most rows of one call, unless a single request brings more.
        max_wait: Longest that a request waits for others, such as `"10ms"`; the default is none:
            only what waits anyway is scored together.

    Raises:
        ValueError: A limit is not positive, or not a duration.
    """
    if max_rows is not None and max_rows < 1:
        raise ValueError("max_rows must be at least 1")
    mark = BatchMark(max_rows, None if max_wait is None else _seconds(max_wait))

    def marked(function: Any) -> Any:
        setattr(function, _ATTRIBUTE, mark)
        return function

    return marked if run is None else marked(run)


def mark_of(run: Callable[..., Any]) -> BatchMark | None:
    """What `@batchable` says of a `run`; None where it was not used."""
    mark: BatchMark | None = getattr(run, _ATTRIBUTE, None)
    return mark


def _seconds(text: str) -> float:
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError('max_wait must be a duration such as "10ms" or "0.5s"')
    return float(match[1]) * _UNITS[match[2]]
