"""Whether a candidate answers worse than its incumbent: a test that may be looked at at any time.

For two streams of requests, of which `bad` out of `all` were bad, the question is whether the rate
of the candidate is more than a margin above that of the incumbent. The evidence for it is

    E = M(candidate) * M(incumbent) / max L(a, b)   over all rates with  b <= a + margin

where L is the probability of exactly these two sequences under the rates a (incumbent) and b
(candidate), and M the probability of one of them when its rate is drawn from Beta(1/2, 1/2).
Under every pair of rates that is fine, E is at most a martingale that starts at 1, so by Ville's
inequality the probability that it ever reaches 1/alpha, however often one looks, is at most alpha.
(Robbins' method of mixtures, 1970; the maximum in the denominator is that of universal inference,
Wasserman, Ramdas and Balakrishnan, 2020.) Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import accumulate
from math import exp, inf, lgamma, log, log1p, pi

FALSE_ALARMS = 0.01
"""Most rollouts of a candidate like its incumbent that are taken for worse, all tests together."""
_TESTS = 4
_EVIDENCE = log(_TESTS / FALSE_ALARMS)
ERRORS_MARGIN = 0.01
"""Requests that may fail more, of all: what is less than one in a hundred is not acted on."""
LATENCY_MARGIN = 0.05
"""Requests that may be slower, of all: the slowest five in a hundred do not count."""
ANSWERS_MARGIN = 0.01
STEPS_SLOWER = 2
"""Buckets, of three for a factor of ten: a factor of 4 to 5, so that 10 is always seen."""
WARM_UP = 5
"""First requests of a candidate whose times do not count."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What became of the requests to one deployment."""

    requests: int = 0
    failed: int = 0
    """Answered with 5xx, or lost."""
    refused: int = 0
    """Answered with 4xx."""
    durations: tuple[int, ...] = ()
    """Requests by time, in buckets."""
    shapes: dict[str, int] = field(default_factory=dict)
    """Good answers that were looked at, by their shape."""
    other_shapes: int = 0
    """Those whose shape came when there was no room for another."""

    @property
    def looked_at(self) -> int:
        """Good answers whose shape was looked at."""
        return sum(self.shapes.values()) + self.other_shapes


class Worse(StrEnum):
    """In what a candidate is worse."""

    ERRORS = "errors"
    REFUSALS = "refusals"
    LATENCY = "latency"
    ANSWERS = "answers"


@dataclass(frozen=True, slots=True)
class Finding:
    """That a candidate is worse, with the figures."""

    worse: Worse
    what: str
    """`12 of 40 requests failed`; the candidate's part of the sentence."""
    against: str
    """`0 of 360`; the incumbent's."""
    candidate: int
    """Requests that the candidate had had."""
    evidence: float
    """How many times likelier this is for a worse candidate: at least 1/alpha."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Requests, and how many of them were bad."""

    bad: int
    all: int


def evidence(candidate: Tally, incumbent: Tally, margin: float) -> float:
    """The natural logarithm of E, or 0 when the candidate is not seen to be worse.

    Args:
        candidate: Its requests.
        incumbent: Its requests.
        margin: How much higher the candidate's rate may be, from 0 to below 1.
    """
    if not candidate.all or not incumbent.all:
        return 0.0
    if candidate.bad / candidate.all <= incumbent.bad / incumbent.all + margin:
        return 0.0
    rate = _best_rate(candidate, incumbent, margin)
    fine = _likelihood(incumbent, rate) + _likelihood(candidate, rate + margin)
    return _mixture(candidate) + _mixture(incumbent) - fine


def _mixture(seen: Tally) -> float:
    good = seen.all - seen.bad
    return lgamma(seen.bad + 0.5) + lgamma(good + 0.5) - lgamma(seen.all + 1) - log(pi)


def _likelihood(seen: Tally, rate: float) -> float:
    good = seen.all - seen.bad
    bad = seen.bad * log(rate) if seen.bad else 0.0
    return bad + (good * log1p(-rate) if good else 0.0)


def _best_rate(candidate: Tally, incumbent: Tally, margin: float) -> float:
    """The incumbent's rate under which both are likeliest when the candidate's is `margin` higher.

    The likelihood has one peak, at which its slope falls through zero.
    """
    low, high = 1e-12, 1.0 - margin - 1e-12
    for _ in range(50):
        middle = (low + high) / 2
        if _slope(incumbent, middle) + _slope(candidate, middle + margin) > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _slope(seen: Tally, rate: float) -> float:
    return seen.bad / rate - (seen.all - seen.bad) / (1.0 - rate)


def slower(candidate: Sequence[int], incumbent: Sequence[int]) -> tuple[float, int]:
    """Evidence that a candidate is slower by more than `STEPS_SLOWER` buckets, and where.

    For every bucket: no larger share of the candidate's requests, but for the margin, may come
    after the bucket `STEPS_SLOWER` further on than of the incumbent's after this one. The evidence
    is the mean of E over all of them, which is as valid as each.

    Returns:
        The natural logarithm of it, and the number of the bucket that tells most.
    """
    after_candidate, after_incumbent = _beyond(candidate), _beyond(incumbent)
    total, usual = sum(candidate), sum(incumbent)
    places = range(max(len(candidate) - 1 - STEPS_SLOWER, 0))
    found = [
        evidence(
            Tally(after_candidate[place + STEPS_SLOWER], total),
            Tally(after_incumbent[place], usual),
            LATENCY_MARGIN,
        )
        for place in places
    ]
    highest = max(found, default=0.0)
    if not highest:
        return 0.0, 0
    mean = highest + log(sum(exp(each - highest) for each in found if each) / len(found))
    return mean, found.index(highest)


def _beyond(buckets: Sequence[int]) -> list[int]:
    """For every bucket, what is in those after it."""
    return [sum(buckets) - count for count in accumulate(buckets)]


class Comparison:
    """A candidate beside its incumbent, looked at again and again while they serve.

    Args:
        bounds: Upper bounds of the buckets of times, seconds.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._first: Seen | None = None
        """What the incumbent had done when the candidate came."""
        self._warm: tuple[Seen, Seen] | None = None

    def look(self, candidate: Seen, incumbent: Seen, *, beside: bool) -> Finding | None:
        """Why the candidate is worse, if that is certain enough.

        Args:
            candidate: All that became of its requests.
            incumbent: All that became of its requests, from before, too.
            beside: Both serve. Failures and answers are compared with earlier ones all the same;
                refusals and times depend on the hour, so only those of the same time count.
        """
        if self._first is None:
            self._first = incumbent
        found = _more_failures(candidate, incumbent) or _other_answers(candidate, incumbent)
        if found is None and beside:
            found = _more_refusals(candidate, incumbent, self._first)
            found = found or self._slower(candidate, incumbent)
        return found

    def beside(self, candidate: Seen, incumbent: Seen) -> int:
        """Requests that both have had side by side: the fewer ones, warm-up aside."""
        first = self._first.requests if self._first else incumbent.requests
        return min(candidate.requests - WARM_UP, incumbent.requests - first)

    def _slower(self, candidate: Seen, incumbent: Seen) -> Finding | None:
        if self._warm is None:
            if candidate.requests >= WARM_UP:
                self._warm = candidate, incumbent
            return None
        times, usual = (
            _since(now.durations, then.durations)
            for now, then in zip((candidate, incumbent), self._warm, strict=True)
        )
        strength, place = slower(times, usual)
        if strength < _EVIDENCE:
            return None
        late = _beyond(times)[place + STEPS_SLOWER]
        return Finding(
            Worse.LATENCY,
            f"{late} of {sum(times)} requests took more than "
            f"{_duration(self._bounds[place + STEPS_SLOWER])}",
            f"{_beyond(usual)[place]} of {sum(usual)} that took more than "
            f"{_duration(self._bounds[place])}",
            candidate.requests,
            _times(strength),
        )


def _more_failures(candidate: Seen, incumbent: Seen) -> Finding | None:
    failed, usual = (Tally(seen.failed, seen.requests) for seen in (candidate, incumbent))
    strength = evidence(failed, usual, ERRORS_MARGIN)
    if strength < _EVIDENCE:
        return None
    return Finding(
        Worse.ERRORS,
        f"{failed.bad} of {failed.all} requests failed",
        f"{usual.bad} of {usual.all}",
        candidate.requests,
        _times(strength),
    )


def _more_refusals(candidate: Seen, incumbent: Seen, before: Seen) -> Finding | None:
    refused = Tally(candidate.refused, candidate.requests)
    usual = Tally(incumbent.refused - before.refused, incumbent.requests - before.requests)
    strength = evidence(refused, usual, ERRORS_MARGIN)
    if strength < _EVIDENCE:
        return None
    return Finding(
        Worse.REFUSALS,
        f"{refused.bad} of {refused.all} requests were refused (4xx)",
        f"{usual.bad} of {usual.all}",
        candidate.requests,
        _times(strength),
    )


def _other_answers(candidate: Seen, incumbent: Seen) -> Finding | None:
    """Answers in shapes that the incumbent never gave.

    Every shape of the incumbent was new once: that is how often something new is to be expected,
    and it becomes rarer with time. Where its shapes are too many to be kept, it has none.
    """
    if incumbent.other_shapes:
        return None
    strange = {s: count for s, count in candidate.shapes.items() if s not in incumbent.shapes}
    new = Tally(sum(strange.values()) + candidate.other_shapes, candidate.looked_at)
    usual = Tally(len(incumbent.shapes), incumbent.looked_at)
    strength = evidence(new, usual, ANSWERS_MARGIN)
    if strength < _EVIDENCE:
        return None
    example = max(strange, key=strange.__getitem__, default="many shapes")
    common = max(incumbent.shapes, key=incumbent.shapes.__getitem__)
    return Finding(
        Worse.ANSWERS,
        f"{new.bad} of {new.all} answers had another shape, such as `{example}`,",
        f"{usual.all} answers such as `{common}`",
        candidate.requests,
        _times(strength),
    )


def _since(now: Sequence[int], then: Sequence[int]) -> list[int]:
    return [a - b for a, b in zip(now, then, strict=True)]


def _times(strength: float) -> float:
    return exp(strength) if strength < 700 else inf


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:g} ms" if seconds < 1 else f"{seconds:g} s"
