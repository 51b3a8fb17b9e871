"""A bar for each server: CPU time of one request, on a logarithmic scale, as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape

from bench.runtime.measure import Outcome
from bench.runtime.servers import Kind
from bench.runtime.workloads import CONNECTIONS, WORKLOADS

_COLOURS = {
    Kind.FLOOR: "#9aa5b1",
    Kind.OURS: "#0b7285",
    Kind.PRODUCT: "#e8590c",
    Kind.HAND: "#c9a227",
}
_WIDTH, _LEFT, _RIGHT = 760, 230, 70
_BAR, _STEP, _TITLE, _GAP = 14, 19, 26, 16


def draw(outcomes: Sequence[Outcome]) -> str:
    """The picture; workloads that were not measured are left out."""
    measured = [one for one in outcomes if one.connections == CONNECTIONS]
    groups = [(w, [one for one in measured if one.workload == w.name]) for w in WORKLOADS]
    groups = [(workload, found) for workload, found in groups if found]
    scale = _Scale([one.median("cpu") for one in measured])
    body: list[str] = []
    y = 34
    for workload, found in groups:
        body.append(_text(10, y + 12, f"{workload.name}: {workload.title}", weight="bold"))
        y += _TITLE
        for one in sorted(found, key=lambda one: one.median("cpu")):
            body += _bar(one, y, scale)
            y += _STEP
        y += _GAP
    caption = "Server CPU per request in microseconds, 64 connections, logarithmic"
    lines = [*_grid(scale, y), _text(10, 20, caption), *body]
    size = f'viewBox="0 0 {_WIDTH} {y}" width="{_WIDTH}" height="{y}"'
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif">'
    back = f'<rect width="{_WIDTH}" height="{y}" fill="white"/>'
    return "\n".join([opening, back, *lines, "</svg>", ""])


class _Scale:
    def __init__(self, values: Sequence[float]) -> None:
        self.low = math.floor(math.log10(min(values)))
        self.high = math.ceil(math.log10(max(values)))

    def x(self, value: float) -> float:
        """Where a value lies."""
        part = (math.log10(value) - self.low) / max(1, self.high - self.low)
        return _LEFT + part * (_WIDTH - _LEFT - _RIGHT)


def _grid(scale: _Scale, bottom: int) -> Iterator[str]:
    for power in range(scale.low, scale.high + 1):
        x = scale.x(10**power)
        yield f'<path d="M{x:.1f} 40V{bottom - 10}" stroke="#e3e7eb"/>'
        yield _text(x, 36, f"{10**power:,}", anchor="middle", colour="#68737d")


def _bar(one: Outcome, y: int, scale: _Scale) -> Iterator[str]:
    value = one.median("cpu")
    end = scale.x(value)
    colour = _COLOURS[Kind(one.kind)]
    yield _text(_LEFT - 6, y + 11, one.server, anchor="end")
    yield f'<rect x="{_LEFT}" y="{y}" width="{end - _LEFT:.1f}" height="{_BAR}" fill="{colour}"/>'
    yield _text(end + 4, y + 11, f"{value:,.0f}")


def _text(
    x: float, y: int, text: str, *, anchor: str = "start", weight: str = "", colour: str = "#222"
) -> str:
    bold = f' font-weight="{weight}"' if weight else ""
    place = f'x="{x:.1f}" y="{y}" text-anchor="{anchor}"'
    return f'<text {place} font-size="11" fill="{colour}"{bold}>{escape(text)}</text>'
