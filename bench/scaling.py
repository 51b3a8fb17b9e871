"""Replicas that follow a simulated load: how soon, how often they turn, and a picture of it.

The policy is the product's own, called as the agent calls it; replicas take two seconds to start.
The picture is `docs/concepts/scaling.svg`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from modelyard.domain.scaling import LoadHistory, Scale, wanted_replicas

Load = Callable[[float], float]
"""Requests busy or waiting at a time, in seconds."""

STEP = 0.1
"""Seconds between two looks of the agent."""
START = 2.0
"""Seconds that a replica takes to start."""
SCALE = Scale(least=1, most=8, capacity=10, idle_time=math.inf)
PICTURE = Path(__file__).parents[1] / "docs" / "concepts" / "scaling.svg"

_HOUR = 3600.0
LOADS: dict[str, tuple[Load, float]] = {
    "step": (lambda now: 28 if 60 <= now < 240 else 2, 360),
    "ramp": (lambda now: max(now - 60, 0) / 6 if now < 300 else 40, 420),
    "spike": (lambda now: 50 if 100 <= now < 105 else 2, 240),
    "day": (lambda now: 25 - 23 * math.cos(2 * math.pi * now / _HOUR), _HOUR),
}
"""What is drawn, with how many seconds of it; the day has an hour."""


@dataclass
class Run:
    """One service: the load, the wanted replicas and the ready ones at every step."""

    loads: list[float] = field(default_factory=list)
    wanted: list[int] = field(default_factory=list)
    had: list[int] = field(default_factory=list)
    capacity: float = SCALE.capacity
    """Requests that one replica has in flight at most."""
    step: float = STEP
    """Seconds."""

    @property
    def changes(self) -> list[int]:
        """By how many replicas it moved, each time that it did."""
        return [after - before for before, after in pairwise(self.wanted) if after != before]

    @property
    def turns(self) -> int:
        """How often it moved the other way than before."""
        return sum(one * two < 0 for one, two in pairwise(self.changes))

    def at(self, seconds: float) -> int:
        """Replicas that were wanted at a time."""
        return self.wanted[int(seconds / self.step)]


def simulate(load: Load, seconds: float, scale: Scale = SCALE, current: int = 1) -> Run:
    """Let replicas follow a load for so long, beginning with `current` that are ready."""
    run, history, ready = Run(), LoadHistory(0.0), current
    starting: list[float] = []
    for step in range(int(seconds / STEP)):
        now = step * STEP
        history.add(now, load(now))
        wanted = wanted_replicas(history, current, scale, now)
        starting += [now + START] * (wanted - current)
        ready += sum(at <= now for at in starting)
        starting = [at for at in starting if at > now]
        if wanted < current:
            ready, starting = min(ready, wanted), []
        current = wanted
        run.loads.append(load(now))
        run.wanted.append(wanted)
        run.had.append(ready)
    return run


def run() -> Iterator[dict[str, Any]]:
    """The figures; the picture is drawn anew."""
    runs = {name: simulate(load, seconds) for name, (load, seconds) in LOADS.items()}
    PICTURE.write_text(draw(runs))
    step = runs["step"].wanted
    up, down = (_first(step, lambda n: n == 4), 600), (_first(step, lambda n: n == 1, 2500), 2400)
    yield _figure("step up: wanted replicas there after", (up[0] - up[1]) * STEP, "s", "<= 1")
    yield _figure(
        "step down: wanted replicas there after", (down[0] - down[1]) * STEP, "s", "<= 62"
    )
    for name, one in runs.items():
        yield _figure(f"{name}: turns", one.turns, "turns", "<= 1")


def _first(values: Sequence[int], is_it: Callable[[int], bool], start: int = 0) -> int:
    return next(number for number in range(start, len(values)) if is_it(values[number]))


def _figure(name: str, value: float, unit: str, goal: str) -> dict[str, Any]:
    return {"figure": f"scaling, simulated, {name}", "value": value, "unit": unit, "goal": goal}


_WIDTH, _HEIGHT, _LEFT, _TOP, _GAP = 760, 110, 40, 40, 40


def draw(runs: dict[str, Run]) -> str:
    """A panel for each: the load in replicas that it would fill, those wanted, those ready."""
    height = _TOP + len(runs) * (_HEIGHT + _GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'width="{_WIDTH}" height="{height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        *_legend(),
    ]
    for number, (name, one) in enumerate(runs.items()):
        parts += _panel(name, one, _TOP + number * (_HEIGHT + _GAP))
    return "\n".join([*parts, "</svg>", ""])


def _legend() -> Iterator[str]:
    entries = (("load, in full replicas", "#9aa5b1"), ("wanted", "#e8590c"), ("ready", "#0b7285"))
    for number, (text, colour) in enumerate(entries):
        x = _LEFT + number * 170
        yield f'<path d="M{x} 16h24" stroke="{colour}" stroke-width="2"/>'
        yield f'<text x="{x + 30}" y="20">{text}</text>'


def _panel(name: str, one: Run, top: int) -> Iterator[str]:
    load = [value / one.capacity for value in one.loads]
    most = max(*one.wanted, *load)
    seconds = len(one.wanted) * one.step
    yield f'<text x="{_LEFT}" y="{top + 4}" font-weight="bold">{name}, {seconds:.0f} s</text>'
    for value in range(0, math.ceil(most) + 1, 2):
        y = _y(value, most, top)
        yield f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - 10}" stroke="#e3e7eb"/>'
        yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value}</text>'
    for values, colour in ((load, "#9aa5b1"), (one.wanted, "#e8590c"), (one.had, "#0b7285")):
        yield _curve(values, most, top, colour)


def _curve(values: Sequence[float], most: float, top: int, colour: str) -> str:
    """A staircase with its corners only."""
    width = (_WIDTH - 10 - _LEFT) / len(values)
    steps = [f"M{_LEFT} {_y(values[0], most, top):.1f}"]
    for number, (before, after) in enumerate(pairwise(values), 1):
        if round(before, 2) != round(after, 2):
            x = _LEFT + number * width
            steps.append(f"H{x:.1f}V{_y(after, most, top):.1f}")
    steps.append(f"H{_WIDTH - 10}")
    return f'<path d="{"".join(steps)}" fill="none" stroke="{colour}" stroke-width="1.5"/>'


def _y(value: float, most: float, top: int) -> float:
    return top + 12 + (_HEIGHT - 12) * (1 - value / most)
