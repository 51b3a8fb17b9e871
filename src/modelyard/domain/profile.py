"""A profile: what an image showed under rising concurrency, and what follows for a service.

Pure: `images.profiling` measures, `control.profiles` keeps what came out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from itertools import takewhile

from pydantic import Field, computed_field

from modelyard.domain.values import Digest, Seconds, Spec, Value

HEADROOM = 0.7
"""Share of the measured rate that a replica is planned for: traffic comes in bursts, and the
gateway and other replicas want the cores too."""
_GAIN = 1.05
"""A rate that is less than this many times the best so far is no gain, but noise."""
_MOST_ERRORS = 0.01
_SATURATED = 0.9
"""Of a core: a load generator that is as busy as this was the limit, not the image."""


class Goal(Spec):
    """What a service is to reach."""

    latency: Seconds | None = Field(None, gt=0, le=3600)
    """Longest time for 95 of 100 answers, `"50ms"`."""
    rate: float | None = Field(None, gt=0)
    """Requests per second that all replicas together are to answer."""


class Level(Value):
    """What was measured with one number of requests in flight."""

    concurrency: int
    """Requests in flight all the time."""
    answered: int
    errors: int
    """Answers with an error status, and broken connections."""
    seconds: float
    """How long was measured."""
    p50: float
    """Seconds within which half of the good answers came."""
    p95: float
    p99: float
    cpu: float
    """CPU seconds of all the replica's processes for one answer."""
    memory: int
    """Bytes, resident, of all its processes; what they share is counted once."""
    generator: float
    """Cores that the load generator used."""
    others: float
    """Cores that everything else on the machine used."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def rate(self) -> float:
        """Good answers per second."""
        return self.answered / self.seconds

    @property
    def failing(self) -> bool:
        """More than 1 % of the requests got no good answer."""
        return self.errors > _MOST_ERRORS * (self.answered + self.errors)

    def within(self, goal: Goal) -> bool:
        """Whether it answers, and as fast as the goal says."""
        return not self.failing and (goal.latency is None or self.p95 <= goal.latency)


class Machine(Value):
    """Where a profile was measured."""

    cores: int
    platform: str
    shared: bool
    """The load generator had no core of its own, so that it slowed the replica down."""


class Recommendation(Value):
    """Settings of a service that follow from a profile."""

    replicas: int | None = None
    """Null when no number of them reaches the goal."""
    max_concurrent_requests: int | None = None
    reason: str
    """One sentence."""


class Profile(Value):
    """What an image showed under load."""

    image: str
    """`name:version`."""
    digest: Digest
    cpu: float
    """Cores of the replica, as in the settings of a service."""
    workers: int
    goal: Goal
    machine: Machine
    levels: tuple[Level, ...]
    """By rising concurrency."""
    recommendation: Recommendation
    measured_at: datetime


def next_concurrency(levels: Sequence[Level], goal: Goal, most: int) -> int | None:
    """How many requests to keep in flight next; None when more would tell nothing new."""
    if not levels:
        return 1
    last = levels[-1]
    enough = _is_flat(levels) if goal.latency is None else not last.within(goal)
    if last.concurrency >= most or last.failing or enough:
        return None
    return min(2 * last.concurrency, most)


def recommend(levels: Sequence[Level], goal: Goal, cpu: float, cores: int) -> Recommendation:
    """Replicas and concurrency for a goal.

    A replica gets as many requests at a time as make it faster, and keep the latency goal.

    Args:
        levels: What was measured of one replica, by rising concurrency; at least one.
        goal: Latency, rate, both or neither.
        cpu: Cores that each replica gets.
        cores: Cores of the machine.
    """
    usable = list(takewhile(lambda level: level.within(goal), levels))
    if not usable:
        return Recommendation(reason=_why_none(levels[0], goal))
    chosen = _knee(usable)
    rate = chosen.rate
    replicas = 1 if goal.rate is None else math.ceil(goal.rate / (HEADROOM * rate))
    return Recommendation(
        replicas=replicas,
        max_concurrent_requests=chosen.concurrency,
        reason=f"{_what_one_does(chosen, rate, goal)}; {_what_follows(rate, goal, replicas)}"
        f"{_too_few_cores(replicas, cpu, cores)}.",
    )


def doubts(machine: Machine, levels: Sequence[Level]) -> tuple[str, ...]:
    """Why the figures may be worse, or less steady, than those of a service."""
    found = []
    if machine.shared:
        found.append(
            f"the load generator shared the machine's {_count(machine.cores, 'core')} with the "
            "replica: alone the image is faster"
        )
    if any(level.generator > _SATURATED for level in levels):
        found.append("at its highest rate the load generator was the limit, not the image")
    others = max(level.others for level in levels)
    if others > 0.1 * machine.cores:
        found.append(f"other programs used up to {others:.1f} cores meanwhile")
    return tuple(found)


def _is_flat(levels: Sequence[Level]) -> bool:
    """Neither of the last two levels was a gain over what came before."""
    if len(levels) < 3:
        return False
    before = max(level.rate for level in levels[:-2])
    return max(level.rate for level in levels[-2:]) < _GAIN * before


def _knee(levels: Sequence[Level]) -> Level:
    """The lowest concurrency whose rate is as good as the best: more would only wait longer."""
    best = max(level.rate for level in levels)
    return next(level for level in levels if level.rate * _GAIN >= best)


def _why_none(lowest: Level, goal: Goal) -> str:
    if lowest.failing:
        total = lowest.answered + lowest.errors
        return f"{lowest.errors} of {total} requests failed, one at a time."
    return (
        "One request at a time, 95 % of the answers came within "
        f"{milliseconds(lowest.p95)}, and the goal is {milliseconds(goal.latency or 0)}: more "
        "replicas cannot help, a faster model or more cores for each can."
    )


def _what_one_does(chosen: Level, rate: float, goal: Goal) -> str:
    limit = "" if goal.latency is None else f" (the goal is {milliseconds(goal.latency)})"
    return (
        f"With up to {chosen.concurrency} in flight one replica answers 95 % within "
        f"{milliseconds(chosen.p95)}{limit}, at most {rate:.0f} per second"
    )


def _what_follows(rate: float, goal: Goal, replicas: int) -> str:
    if goal.rate is None:
        return f"plan it for {HEADROOM * rate:.0f} per second, {HEADROOM:.0%} of that"
    need = _count(replicas, "replica")
    return f"at {HEADROOM:.0%} of that, {goal.rate:g} per second need {need}"


def _too_few_cores(replicas: int, cpu: float, cores: int) -> str:
    wanted = replicas * cpu
    return f", which want {wanted:g} cores where this machine has {cores}" if wanted > cores else ""


def milliseconds(seconds: float) -> str:
    """A duration as people compare it: `4.2 ms`, `310 ms`."""
    value = seconds * 1000
    return f"{value:.0f} ms" if value >= 100 else f"{value:.3g} ms"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
