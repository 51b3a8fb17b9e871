"""Charts as SVG inside of a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from modelyard.report.page import Markup

_WIDTH, _HEIGHT = 640, 200
_LEFT, _BOTTOM, _TOP, _RIGHT = 48, 28, 24, 12
_BEFORE, _NOW = "#9aa5b1", "#c77d0a"
_FONT = "font:12px system-ui,sans-serif"
_LINE, _BAR = 32, 12
_ANCHORS = {0.0: "start", 1.0: "end"}
_NAMES = 200
_LONGEST = 24


def histograms(
    edges: Sequence[float], before: Sequence[float], now: Sequence[float], names: tuple[str, str]
) -> Markup:
    """Two distributions of numbers over the same bins: one filled, one as a line.

    Args:
        edges: Of the bins, one more than there are bins.
        before: Share of each bin, filled.
        now: Share of each bin, as a line.
        names: Of both.
    """
    most = max([*before, *now, 1e-9])
    step = (_WIDTH - _LEFT) / max(len(before), 1)

    def y(share: float) -> float:
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - share / most)

    bars = (
        f'<rect x="{_LEFT + i * step:.1f}" y="{y(share):.1f}" width="{step:.1f}" '
        f'height="{y(0) - y(share):.1f}" fill="{_BEFORE}"/>'
        for i, share in enumerate(before)
    )
    line = f"M{_LEFT} {y(0):.1f}" + "".join(
        f"V{y(share):.1f}H{_LEFT + (i + 1) * step:.1f}" for i, share in enumerate(now)
    )
    path = f'<path d="{line}V{y(0):.1f}" fill="none" stroke="{_NOW}" stroke-width="2"/>'
    last = len(edges) - 1
    ticks = (
        _text(_LEFT + i * step, _HEIGHT - 10, f"{edges[i]:.4g}", _ANCHORS.get(i / last, "middle"))
        for i in sorted({last * quarter // 4 for quarter in range(5)})
    )
    share = _text(_LEFT - 6, y(most) + 4, f"{most:.0%}", "end")
    axis = f'<path d="M{_LEFT} {y(0):.1f}H{_WIDTH}" stroke="#888"/>'
    return _svg(_HEIGHT, [*bars, path, axis, share, *ticks, *_legend(names)], names)


def bars(
    labels: Sequence[str], before: Sequence[float], now: Sequence[float], names: tuple[str, str]
) -> Markup:
    """Two shares of each label, one below the other."""
    most = max([*before, *now, 1e-9])
    room = _WIDTH - _NAMES - 60
    parts = []
    for i, label in enumerate(labels):
        top = _TOP + i * _LINE
        shown = label if len(label) <= _LONGEST else f"{label[: _LONGEST - 1]}…"
        parts.append(_text(0, top + _BAR + 4, shown, "start"))
        for offset, share, colour in ((0, before[i], _BEFORE), (_BAR, now[i], _NOW)):
            width = room * share / most
            parts.append(
                f'<rect x="{_NAMES}" y="{top + offset}" width="{width:.1f}" height="{_BAR - 1}" '
                f'fill="{colour}"/>'
            )
            parts.append(_text(_NAMES + width + 5, top + offset + 10, f"{share:.1%}", "start"))
    height = _TOP + len(labels) * _LINE
    return _svg(height, [*parts, *_legend(names)], names)


def _legend(names: tuple[str, str]) -> Iterator[str]:
    for x, name, colour in ((_LEFT, names[0], _BEFORE), (_LEFT + 160, names[1], _NOW)):
        yield f'<rect x="{x}" y="4" width="10" height="10" fill="{colour}"/>'
        yield _text(x + 15, 13, name, "start")


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" style="{_FONT}">'
        f"{escape(text)}</text>"
    )


def _svg(height: int, parts: Sequence[str], names: tuple[str, str]) -> Markup:
    label = escape(f"{names[0]} beside {names[1]}", quote=True)
    return Markup(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH + _RIGHT} {height}" '
        f'role="img" aria-label="{label}" width="{_WIDTH + _RIGHT}">{"".join(parts)}</svg>'
    )
