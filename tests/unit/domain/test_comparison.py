"""The test by which candidates are judged: its formula, and simulations of it over many seeds."""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Callable
from itertools import product
from math import comb, exp

import pytest

from modelyard.domain.comparison import (
    FALSE_ALARMS,
    WARM_UP,
    Comparison,
    Finding,
    Seen,
    Tally,
    Worse,
    evidence,
    slower,
)
from modelyard_runtime.families import SECONDS

Model = Callable[[random.Random], tuple[int, float, str]]
"""Gives the status, the seconds and the shape of an answer."""


class Deployment:
    def __init__(self, model: Model, rng: random.Random) -> None:
        self._model, self._rng = model, rng
        self.requests = self.failed = self.refused = 0
        self.durations = [0] * (len(SECONDS) + 1)
        self.shapes: dict[str, int] = {}

    def request(self) -> None:
        status, seconds, shape = self._model(self._rng)
        self.requests += 1
        self.failed += status >= 500
        self.refused += 400 <= status < 500
        self.durations[bisect_left(SECONDS, seconds)] += 1
        if status < 300:
            self.shapes[shape] = self.shapes.get(shape, 0) + 1

    def seen(self) -> Seen:
        durations = tuple(self.durations)
        return Seen(self.requests, self.failed, self.refused, durations, dict(self.shapes))


def model(
    failing: float = 0.0, seconds: float = 0.01, shapes: str = "a", refusing: float = 0.0
) -> Model:
    def answer(rng: random.Random) -> tuple[int, float, str]:
        chance = rng.random()
        status = 500 if chance < failing else 422 if chance < failing + refusing else 200
        return status, seconds * rng.lognormvariate(0.0, 0.5), rng.choice(shapes)

    return answer


def judge(
    candidate: Model, incumbent: Model, seed: int, *, before: int = 100, most: int = 500
) -> Finding | None:
    """Serve both side by side until something is found; looked at after every pair."""
    rng = random.Random(seed)
    new, old = Deployment(candidate, rng), Deployment(incumbent, rng)
    for _ in range(before):
        old.request()
    comparison = Comparison(SECONDS)
    comparison.look(new.seen(), old.seen(), beside=True)
    for _ in range(most):
        new.request()
        old.request()
        found = comparison.look(new.seen(), old.seen(), beside=True)
        if found is not None:
            return found
    return None


def test_under_equal_rates_evidence_is_one_on_average_at_most() -> None:
    for count, rate in product((1, 3, 8), (0.01, 0.2, 0.5)):
        mean = 0.0
        for bad, usual in product(range(count + 1), repeat=2):
            chance = comb(count, bad) * comb(count, usual) * rate ** (bad + usual)
            chance *= (1 - rate) ** (2 * count - bad - usual)
            strength = evidence(Tally(bad, count), Tally(usual, count), 0.0)
            mean += chance * (exp(strength) if strength else 0.0)
        assert mean <= 1.0


@pytest.mark.parametrize(("rate", "margin"), [(0.02, 0.0), (0.3, 0.0), (0.0, 0.01)])
def test_evidence_rarely_ever_reaches_its_bound(rate: float, margin: float) -> None:
    """Looked at after every request, for 300 requests; the bound is 1 in 20."""
    alarms = 0
    for seed in range(150):
        rng = random.Random(seed)
        bad = usual = 0
        for count in range(1, 301):
            bad += rng.random() < rate + margin
            usual += rng.random() < rate
            if (
                count % 3 == 0
                and exp(evidence(Tally(bad, count), Tally(usual, count), margin)) >= 20
            ):
                alarms += 1
                break
    assert alarms <= 150 / 20


@pytest.mark.parametrize(
    "alike",
    [
        model(),
        model(failing=0.03, refusing=0.1),
        model(seconds=0.4, shapes="abcdef"),
    ],
    ids=["calm", "failing", "slow and varied"],
)
def test_a_candidate_like_its_incumbent_is_left_alone(alike: Model) -> None:
    seeds = range(40)
    alarms = [found for seed in seeds if (found := judge(alike, alike, seed, most=300))]
    assert len(alarms) <= FALSE_ALARMS * len(seeds)


@pytest.mark.parametrize(
    ("candidate", "worse", "within"),
    [
        (model(failing=1.0), Worse.ERRORS, 5),
        (model(failing=0.1), Worse.ERRORS, 400),
        (model(refusing=1.0), Worse.REFUSALS, 12),
        (model(seconds=0.1), Worse.LATENCY, 150),
        (model(shapes="b"), Worse.ANSWERS, 5),
    ],
    ids=["500 on all", "500 on 10 %", "4xx on all", "ten times slower", "other shape"],
)
def test_a_worse_one_is_found_soon(candidate: Model, worse: Worse, within: int) -> None:
    for seed in range(8):
        found = judge(candidate, model(), seed)
        assert found is not None
        assert (found.worse, found.candidate <= within) == (worse, True), found


@pytest.mark.parametrize(
    "candidate",
    [model(failing=0.005), model(seconds=0.015), model(shapes="aab")],
    ids=["hardly more failures", "half as slow again", "a shape that came before"],
)
def test_what_is_within_the_margins_is_left_alone(candidate: Model) -> None:
    incumbent = model(shapes="ab")
    assert all(judge(candidate, incumbent, seed, most=200) is None for seed in range(5))


def test_the_finding_has_the_figures() -> None:
    usual = Seen(360, 0, 0, (360,), {"{label: text}": 360})
    bad = Seen(40, 12, 0, (40,), {"{label: text}": 28})
    found = Comparison(SECONDS).look(bad, usual, beside=False)
    assert found is not None
    assert (found.what, found.against) == ("12 of 40 requests failed", "0 of 360")
    assert found.evidence > 1e6


def test_times_and_refusals_count_only_side_by_side() -> None:
    slow = tuple([0] * 15 + [200] + [0] * 4)
    fast = tuple([200] + [0] * 19)
    candidate = Seen(200, 0, 200, slow)
    assert Comparison(SECONDS).look(candidate, Seen(200, 0, 0, fast), beside=False) is None


def test_the_first_requests_may_be_slow() -> None:
    slow, fast = [0] * 20, [0] * 20
    comparison = Comparison(SECONDS)
    slow[15] = WARM_UP
    for count in range(200):
        fast[5] = count
        candidate = Seen(
            WARM_UP + count, 0, 0, tuple(a + b for a, b in zip(slow, fast, strict=True))
        )
        assert comparison.look(candidate, Seen(count, 0, 0, tuple(fast)), beside=True) is None


def test_an_incumbent_without_a_fixed_shape_is_no_measure() -> None:
    varied = Seen(100, 0, 0, (100,), {str(n): 10 for n in range(8)}, other_shapes=20)
    candidate = Seen(50, 0, 0, (50,), {"other": 50})
    assert Comparison(SECONDS).look(candidate, varied, beside=False) is None


def test_an_incumbent_that_nobody_asked_is_no_measure() -> None:
    assert Comparison(SECONDS).look(Seen(50, 50, 0, (50,)), Seen(), beside=True) is None


def test_slower_means_by_two_buckets() -> None:
    def at(place: int) -> list[int]:
        return [100 if number == place else 0 for number in range(20)]

    assert slower(at(8), at(8))[0] == 0
    assert slower(at(9), at(8))[0] == 0
    strength, place = slower(at(11), at(8))
    assert (strength > 10, place) == (True, 8)
