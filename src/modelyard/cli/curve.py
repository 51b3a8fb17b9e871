"""Draws the curve of a profile: as text, as SVG, or as a page with the SVG and the table.

Requests per second go to the right and the latency up: the knee is where a service should run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from html import escape
from typing import NamedTuple

from modelyard.domain.profile import Level, Profile, milliseconds
from modelyard.domain.values import size_text

_WIDTH, _HEIGHT = 720, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 24, 40, 56
_BAR = 40
"""Characters of the longest bar."""
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#222}.title{font-size:15px;font-weight:600}"
    ".grid{stroke:#ddd}.axis{stroke:#888}.goal{stroke:#c0392b;stroke-dasharray:6 4}"
    ".p50{stroke:#2a7ab0;fill:none;stroke-width:2}.p95{stroke:#c77d0a;fill:none;stroke-width:2}"
    ".dot{fill:#c77d0a}.chosen{fill:none;stroke:#2e8b57;stroke-width:3}.faint{fill:#666}"
)


def as_text(profile: Profile) -> str:
    """Bars of the rate, one line a level; the recommended one is marked."""
    best = max(level.rate for level in profile.levels) or 1.0
    return "\n".join(_text_line(profile, level, best) for level in profile.levels)


def _text_line(profile: Profile, level: Level, best: float) -> str:
    bar = "#" * round(_BAR * level.rate / best)
    chosen = profile.recommendation.max_concurrent_requests == level.concurrency
    mark = "  <- recommended" if chosen else ""
    rate, slow = f"{level.rate:.0f}/s", milliseconds(level.p95)
    return f"{level.concurrency:>5}  {bar:<{_BAR}}  {rate:>8}  p95 {slow}{mark}"


def as_svg(profile: Profile) -> str:
    """A drawing that stands by itself."""
    goal = profile.goal.latency
    scale = _Scale.of(profile.levels, goal)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'role="img" aria-label="{_attribute(profile.recommendation.reason)}">',
        f"<style>{_STYLE}</style>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
        f'<text class="title" x="{_LEFT}" y="24">{escape(profile.image)}: latency over requests '
        f"per second, {profile.cpu:g} core{'' if profile.cpu == 1 else 's'}</text>",
        *_axes(scale),
        *([] if goal is None else _goal_line(scale, goal)),
        _line("p50", [scale.point(level.rate, level.p50) for level in profile.levels]),
        _line("p95", [scale.point(level.rate, level.p95) for level in profile.levels]),
        *_dots(profile, scale),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def as_html(profile: Profile) -> str:
    """A page with the drawing, the table and the recommendation; it loads nothing."""
    rows = "\n".join(
        f"<tr><td>{level.concurrency}<td>{level.rate:.0f}<td>{milliseconds(level.p50)}"
        f"<td>{milliseconds(level.p95)}<td>{milliseconds(level.p99)}"
        f"<td>{milliseconds(level.cpu)}<td>{size_text(level.memory)}<td>{level.errors}"
        for level in profile.levels
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(profile.image)}'
        "</title><style>body{font:16px system-ui,sans-serif;max-width:48rem;margin:2rem auto}"
        "td,th{padding:.2rem .8rem;text-align:right}</style>\n"
        f"<h1>{escape(profile.image)}</h1>\n{as_svg(profile)}"
        f"<p>{escape(profile.recommendation.reason)}</p>\n"
        "<table><tr><th>in flight<th>per second<th>p50<th>p95<th>p99<th>CPU each<th>memory"
        f"<th>errors\n{rows}\n</table></html>\n"
    )


WRITERS: dict[str, Callable[[Profile], str]] = {".svg": as_svg, ".html": as_html}
"""How a file is drawn, by its suffix."""


class _Scale(NamedTuple):
    """Where a rate and a latency are on the drawing."""

    rate: float
    latency: float

    @classmethod
    def of(cls, levels: Sequence[Level], goal: float | None) -> _Scale:
        slowest = max([*(level.p95 for level in levels), *([goal] if goal else [])])
        return cls(
            _round_up(max(level.rate for level in levels) or 1.0), _round_up(slowest or 0.001)
        )

    def x(self, rate: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * rate / self.rate

    def y(self, latency: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * latency / self.latency

    def point(self, rate: float, latency: float) -> tuple[float, float]:
        return self.x(rate), self.y(latency)


def _axes(scale: _Scale) -> Iterator[str]:
    for step in range(5):
        rate, latency = scale.rate * step / 4, scale.latency * step / 4
        x, y = scale.point(rate, latency)
        kind = "grid" if step else "axis"
        yield f'<path class="{kind}" d="M{x:.1f} {_TOP}V{_HEIGHT - _BOTTOM}"/>'
        yield f'<path class="{kind}" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>'
        yield f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{rate:g}</text>'
        label = milliseconds(latency)
        yield f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'
    yield (
        f'<text class="faint" x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 14}" text-anchor="end">requests '
        "per second; at each point: requests in flight; blue: p50, orange: p95</text>"
    )


def _goal_line(scale: _Scale, goal: float) -> Iterator[str]:
    y = scale.y(goal)
    yield f'<path class="goal" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>'
    yield f'<text x="{_LEFT + 6}" y="{y - 5:.1f}">goal {milliseconds(goal)}</text>'


def _line(kind: str, points: Sequence[tuple[float, float]]) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline class="{kind}" points="{path}"/>'


def _dots(profile: Profile, scale: _Scale) -> Iterator[str]:
    for level in profile.levels:
        x, y = scale.point(level.rate, level.p95)
        yield f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
        yield f'<text x="{x + 7:.1f}" y="{y - 7:.1f}">{level.concurrency}</text>'
        if level.concurrency == profile.recommendation.max_concurrent_requests:
            yield f'<circle class="chosen" cx="{x:.1f}" cy="{y:.1f}" r="9"/>'


def _round_up(value: float) -> float:
    """The next of 1, 2, 4, 5, 8, 10 times a power of ten, so that a quarter of it reads well."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 5, 8, 10) if step * power >= value)


def _attribute(text: str) -> str:
    return escape(text, quote=True)
