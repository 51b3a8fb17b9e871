"""Two sketches compared, feature by feature, with a verdict that is wrong at a stated rate.

A feature has drifted when a sign is larger than what matters, and is no chance: the probabilities
of all tests of a report are adjusted together, so that at most `FALSE_ALARMS` of the reports about
unchanged traffic name anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from modelyard.domain.drift import (
    FALSE_ALARMS,
    Distribution,
    FeatureDrift,
    Finding,
    Sign,
    Summary,
    Verdict,
)
from modelyard.monitoring.measures import (
    Points,
    binned,
    chi_square_of_shares,
    jensen_shannon,
    kolmogorov_smirnov,
    psi,
    wasserstein,
    without_rare,
)
from modelyard.monitoring.significance import (
    all_beyond,
    chi_square,
    holm,
    kolmogorov,
    shares_differ,
    unseen,
)
from modelyard.monitoring.sketches import Feature, Numbers, Sketch, Values

THRESHOLDS = {Sign.MISSING: 0.02, Sign.RANGE: 0.02, Sign.NEW: 0.01, Sign.KS: 0.1, Sign.PSI: 0.1}
"""From where on a sign matters, however sure it is."""
LEAST = 50
"""Values on a side below which nothing is said of their distribution."""
_BINS = 10
_SHOWN = 20
_MOST_COMPARED = 30
_MOST_NAMED = 10
_IDENTIFIER = "an identifier, nearly every value is another: only missing ones are compared"
_T = TypeVar("_T", str, float)


class _Test(NamedTuple):
    sign: Sign
    value: float
    p: float


class _Compared(NamedTuple):
    """What is known of a feature before all tests are looked at together."""

    name: str
    baseline: Summary
    window: Summary
    tests: list[_Test]
    figures: dict[str, Any]
    note: str = ""


def compare(
    baseline: Sketch, window: Sketch, names: Sequence[str], never: Container[str] = ()
) -> tuple[FeatureDrift, ...]:
    """Compare these features of two sketches, in this order.

    Args:
        baseline: What was there before.
        window: What is there now.
        names: Of the features.
        never: Those of the baseline that no traffic has ever had.
    """
    empty = Feature()
    compared = [
        _never(name, baseline, window)
        if name in never
        else _compare(
            name,
            *(baseline.features.get(name, empty), baseline.rows),
            *(window.features.get(name, empty), window.rows),
        )
        for name in names
    ]
    adjusted = iter(holm([test.p for one in compared for test in one.tests]))
    return tuple(_judge(one, [next(adjusted) for _ in one.tests]) for one in compared)


def _never(name: str, baseline: Sketch, window: Sketch) -> _Compared:
    feature = baseline.features[name]
    count = feature.numbers.count + feature.values.count
    sides = _summary(count, baseline.rows, None), _summary(0, window.rows, None)
    return _Compared(name, *sides, [], {}, "never seen in traffic: is it named otherwise?")


def _judge(one: _Compared, adjusted: list[float]) -> FeatureDrift:
    findings = tuple(
        Finding(sign=test.sign, value=test.value, threshold=THRESHOLDS[test.sign], p=p)
        for test, p in zip(one.tests, adjusted, strict=True)
        if p < FALSE_ALARMS and test.value >= THRESHOLDS[test.sign]
    )
    verdict = Verdict.UNKNOWN if one.note else Verdict.STEADY
    return FeatureDrift(
        name=one.name,
        verdict=Verdict.DRIFTED if findings else verdict,
        findings=findings,
        note="" if findings else one.note,
        baseline=one.baseline,
        window=one.window,
        **one.figures,
    )


def _compare(name: str, before: Feature, n: int, now: Feature, m: int) -> _Compared:
    is_numbers = _is_of_numbers(before, now)
    numbers = before.all_numbers, now.all_numbers
    is_encrypted = before.values.is_encrypted or now.values.is_encrypted
    if is_encrypted:  # of whatever kind they were
        is_numbers = False
        sides = (
            before.numbers.count + before.values.count,
            now.numbers.count + now.values.count,
        )
    elif is_numbers:
        sides = numbers[0].count, numbers[1].count
    else:
        sides = before.values.count, now.values.count
    summaries = (
        _summary(sides[0], n, numbers[0] if is_numbers else None),
        _summary(sides[1], m, numbers[1] if is_numbers else None),
    )
    tests = [
        _Test(
            Sign.MISSING,
            abs(summaries[0].missing - summaries[1].missing),
            shares_differ(n - sides[0], n, m - sides[1], m),
        )
    ]
    if is_encrypted:
        return _Compared(name, *summaries, tests, {}, "encrypted, not compared")
    if min(sides) < LEAST:
        note = f"it takes {LEAST} values on each side, and there are {sides[0]} and {sides[1]}"
        return _Compared(name, *summaries, tests, {}, note)
    if not is_numbers and before.values.is_identifier and now.values.is_identifier:
        return _Compared(name, *summaries, tests, {}, _IDENTIFIER)
    if not is_numbers:
        more, figures, note = _values(before.values, now.values)
    else:
        more, figures, note = _numbers(*numbers)
    return _Compared(name, *summaries, tests + more, figures, note)


def _is_of_numbers(before: Feature, now: Feature) -> bool:
    """Which kind leaves out the smaller share of the values; texts alone are words."""
    if not before.numbers.count + now.numbers.count:
        return not before.values.count + now.values.count
    as_numbers = as_words = 0.0
    for side in (before, now):
        count = side.numbers.count + side.values.count
        if count:
            as_numbers += (side.values.count - side.spelled.count) / count
            as_words += side.numbers.count / count
    return as_numbers <= as_words


def _summary(count: int, rows: int, numbers: Numbers | None) -> Summary:
    missing = 1 - count / rows if rows else 0.0
    if numbers is None or not numbers.count:
        return Summary(rows=rows, missing=missing)
    return Summary(
        rows=rows,
        missing=missing,
        least=numbers.least,
        most=numbers.most,
        mean=numbers.mean,
        deviation=numbers.deviation,
    )


_Result = tuple[list[_Test], dict[str, Any], str]


def _numbers(before: Numbers, now: Numbers) -> _Result:
    b, w = _points(before), _points(now)
    n, m = _worth(before), _worth(now)
    distance = kolmogorov_smirnov(b, w)
    edges = np.unique(before.quantiles.get_quantiles([i / _BINS for i in range(1, _BINS)]))
    shares = binned(b, edges), binned(w, edges)
    index = psi(*shares)
    outside = _outside(before, now)
    deviation = before.deviation
    figures: dict[str, Any] = {
        "psi": index,
        "ks": distance,
        "wasserstein": wasserstein(b, w) / deviation if deviation > 0 else None,
        "js": jensen_shannon(*shares),
        "out_of_range": outside.value,
        "distribution": _picture(before, now, b, w),
    }
    worth = _bin_worth(before), _bin_worth(now)
    statistic, freedom = chi_square_of_shares(*without_rare(*shares, *worth), *worth)
    tests = [
        outside,
        _Test(Sign.KS, distance, kolmogorov(distance, 1 / (1 / n + 1 / m))),
        _Test(Sign.PSI, index, chi_square(statistic, freedom)),
    ]
    if before.counts is not None and now.counts is not None:
        counts = [
            (before.counts.get(v, 0), now.counts.get(v, 0)) for v in before.counts | now.counts
        ]
        named = [v for v in _frequent(now.counts) if v not in before.counts]
        new = sum(now.counts[v] for v in named) / now.count
        tests.append(_Test(Sign.NEW, new, unseen(counts)))
        figures |= {"new": new, "new_values": tuple(f"{v:g}" for v in named[:_MOST_NAMED])}
    return tests, figures, ""


def _outside(before: Numbers, now: Numbers) -> _Test:
    """Numbers beyond the baseline's ends; what may be an error of the sketch is taken off."""
    error = _error(now)
    low = high = 0.0
    if now.least < before.least:
        low = max(float(now.quantiles.get_rank(before.least)) - error, 1 / now.count)
    if now.most > before.most:
        high = max(1 - float(now.quantiles.get_rank(before.most, True)) - error, 1 / now.count)
    p = min(all_beyond(round(share * now.count), before.count, now.count) for share in (low, high))
    return _Test(Sign.RANGE, low + high, min(1.0, 2 * p))


def _values(before: Values, now: Values) -> _Result:
    together = Counter(before.counts) + Counter(now.counts)
    compared = _frequent(together)[:_MOST_COMPARED]
    n, m = before.count, now.count
    common = [v for v in compared if together[v] * min(n, m) >= 5 * (n + m)]
    shares = _shares(before, common), _shares(now, common)  # which rare ones are named is chance
    statistic, freedom = chi_square_of_shares(*shares, n, m)
    index = psi(*shares)
    shown = compared[:_MOST_NAMED]
    beside = _shares(before, shown), _shares(now, shown)
    if not max(side[-1] for side in beside):  # there are no others
        beside = beside[0][:-1], beside[1][:-1]
    names = (*shown, "(others)")[: len(beside[0])]
    figures: dict[str, Any] = {
        "psi": index,
        "js": jensen_shannon(*shares),
        "distribution": Distribution(
            values=names, baseline=tuple(beside[0].tolist()), window=tuple(beside[1].tolist())
        ),
    }
    tests = [_Test(Sign.PSI, index, chi_square(statistic, freedom))]
    if not before.others:  # else it is not known what was there
        named = [v for v in _frequent(now.counts) if v not in before.counts]
        new = sum(now.counts[v] for v in named) / now.count
        counts = [
            (before.counts.get(v, 0), now.counts.get(v, 0)) for v in before.counts | now.counts
        ]
        tests.append(_Test(Sign.NEW, new, unseen(counts)))
        figures |= {"new": new, "new_values": tuple(named[:_MOST_NAMED])}
    note = "" if freedom else "its values are too many, and each too rare, to be compared"
    return tests, figures, note if len(compared) > 1 else ""


def _frequent(counts: dict[_T, int]) -> list[_T]:
    return sorted(counts, key=lambda value: (-counts[value], value))


def _shares(values: Values, names: list[str]) -> np.ndarray:
    """Shares of these values, and of all others."""
    counts = [values.counts.get(name, 0) for name in names]
    return np.array([*counts, values.count - sum(counts)]) / values.count


def _points(numbers: Numbers) -> Points:
    if numbers.counts is not None:
        found = sorted(numbers.counts.items())
    else:
        found = sorted(numbers.quantiles)
    pairs = np.array(found, dtype=np.float64)
    return Points(pairs[:, 0], pairs[:, 1] / pairs[:, 1].sum())


def _error(numbers: Numbers) -> float:
    """By how much ranks are off, in 99 of 100 sketches."""
    if numbers.counts is not None or not numbers.quantiles.is_estimation_mode():
        return 0.0
    return float(numbers.quantiles.normalized_rank_error(False))


def _worth(numbers: Numbers) -> float:
    """Rows that would tell as much as the sketch does.

    The error of a sketch is like that of drawing once more: 99 % of the greatest distances
    between a distribution and a sample of n are below 1.63 / sqrt(n).
    """
    return 1 / (1 / numbers.count + (_error(numbers) / 1.63) ** 2)


def _bin_worth(numbers: Numbers) -> float:
    """The same for shares of bins; their error is below 2.58 deviations in 99 of 100 sketches."""
    if not _error(numbers):
        return numbers.count
    deviation = float(numbers.quantiles.normalized_rank_error(True)) / 2.58
    share = 1 / _BINS
    return 1 / (1 / numbers.count + deviation**2 / (share * (1 - share)))


def _picture(before: Numbers, now: Numbers, b: Points, w: Points) -> Distribution:
    """Bins of the same width over where nearly all numbers of both sides are."""
    ends = [q for side in (before, now) for q in side.quantiles.get_quantiles([0.005, 0.995])]
    low, high = min(ends), max(ends)
    if not low < high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, _SHOWN + 1)
    return Distribution(
        edges=tuple(edges.tolist()),
        baseline=tuple(binned(b, edges[1:-1]).tolist()),
        window=tuple(binned(w, edges[1:-1]).tolist()),
    )
