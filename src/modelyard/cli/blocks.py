"""Charts of blocks for a terminal: one column for each moment."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC

from modelyard.cli.top import rate
from modelyard.domain.profile import milliseconds
from modelyard.domain.telemetry import Point, ServiceMetrics
from modelyard.domain.values import size_text

_HEIGHT, _WIDTH = 6, 60
_BLOCKS = " ▁▂▃▄▅▆▇█"
_ASCII = " .....###"
_CHARTS: tuple[tuple[str, Callable[[Point], float | None], Callable[[float], str]], ...] = (
    ("requests/s", lambda p: p.requests, rate),
    ("5xx/s", lambda p: p.errors, rate),
    ("p50", lambda p: p.p50, milliseconds),
    ("p99", lambda p: p.p99, milliseconds),
    ("cores", lambda p: p.cpu, lambda value: rate(value) if value < 0.1 else f"{value:.2f}"),
    ("memory", lambda p: p.memory, lambda value: size_text(round(value))),
)


def chart(
    title: str, values: Sequence[float | None], label: Callable[[float], str], ends: tuple[str, str]
) -> str:
    """A chart with its title, the highest value, and what the first and the last column are.

    None is a moment of which nothing is known: its column stays empty.
    """
    top = max((value for value in values if value is not None), default=0.0)
    if not top:
        return f"{title}  (none)"
    width = max(1, _WIDTH // len(values))
    margin = max(len(label(top)), len(label(0.0)))
    lines = [f"{title}  (most: {label(top)})"]
    for row, cells in enumerate(_rows(values, top)):
        side = {0: label(top), _HEIGHT - 1: label(0.0)}.get(row, "")
        wide = "".join(cell * width for cell in cells)
        lines.append(f"{side.rjust(margin)} |{wide}")
    begins, ends_at = ends
    room = max(1, width * len(values) - len(begins) - len(ends_at))
    lines.append(f"{' ' * margin}  {begins}{' ' * room}{ends_at}")
    return "\n".join(lines)


def charts(found: ServiceMetrics) -> Iterator[str]:
    """What a service was asked, how it answered, and what it used, one chart below the other."""
    first, last = found.points[0].begins, found.points[-1].begins
    known = {round((p.begins - first).total_seconds() / found.step): p for p in found.points}
    points = [known.get(number) for number in range(max(known) + 1)]
    ends = f"{first.astimezone(UTC):%H:%M}", f"{last.astimezone(UTC):%H:%M} UTC"
    for title, value, label in _CHARTS:
        yield chart(title, [None if p is None else value(p) for p in points], label, ends)


def _rows(values: Sequence[float | None], top: float) -> Iterator[str]:
    blocks = _BLOCKS if _can_show(_BLOCKS) else _ASCII
    steps = len(blocks) - 1
    heights = [round((value or 0.0) / top * _HEIGHT * steps) for value in values]
    for row in reversed(range(_HEIGHT)):
        below = row * steps
        yield "".join(
            blocks[1]
            if value and not height and not row
            else blocks[_within(height - below, steps)]
            for value, height in zip(values, heights, strict=True)
        )


def _within(height: int, steps: int) -> int:
    return max(0, min(steps, height))


def _can_show(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
