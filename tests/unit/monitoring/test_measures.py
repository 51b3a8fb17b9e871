"""Measures and probabilities, beside those of scipy."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from modelyard.monitoring.measures import (
    Points,
    binned,
    chi_square_of_shares,
    jensen_shannon,
    kolmogorov_smirnov,
    psi,
    wasserstein,
)
from modelyard.monitoring.significance import (
    all_beyond,
    chi_square,
    holm,
    kolmogorov,
    shares_differ,
    unseen,
)

_SAMPLE = st.lists(st.integers(-50, 50).map(lambda n: n / 4), min_size=5, max_size=80)
_COUNTS = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 200)), min_size=2, max_size=12)


def _points(sample: list[float]) -> Points:
    return Points(np.sort(np.array(sample)), np.full(len(sample), 1 / len(sample)))


@given(_SAMPLE, _SAMPLE)
def test_distances_of_distribution_functions(one: list[float], other: list[float]) -> None:
    a, b = _points(one), _points(other)
    assert kolmogorov_smirnov(a, b) == pytest.approx(
        scipy.stats.ks_2samp(one, other, method="asymp").statistic
    )
    assert wasserstein(a, b) == pytest.approx(scipy.stats.wasserstein_distance(one, other))


@given(_SAMPLE, st.lists(st.floats(-12, 12), min_size=1, max_size=9, unique=True))
def test_bins_are_those_of_a_histogram(sample: list[float], edges: list[float]) -> None:
    cuts = np.sort(np.array(edges))
    places = np.digitize(sample, cuts, right=True)
    expected = np.bincount(places, minlength=len(edges) + 1) / len(sample)
    assert binned(_points(sample), cuts) == pytest.approx(expected)


@given(_COUNTS)
def test_measures_of_shares(counts: list[tuple[int, int]]) -> None:
    a, b = np.array(counts, dtype=float).T
    assume(a.sum() and b.sum())
    p, q = a / a.sum(), b / b.sum()
    assert jensen_shannon(p, q) == pytest.approx(jensenshannon(p, q, base=2), abs=1e-6)
    assert psi(p, q) >= 0
    assert psi(p, q) == pytest.approx(psi(q, p))


def test_psi_is_that_of_its_definition() -> None:
    assert psi(np.array([0.5, 0.5]), np.array([0.8, 0.2])) == pytest.approx(0.4158883)
    assert psi(np.array([1.0, 0.0]), np.array([0.9, 0.1])) == pytest.approx(0.7006208)


def test_chi_square_of_counts() -> None:
    a, b = np.array([50, 30, 20, 60]), np.array([30, 35, 31, 44])
    expected = scipy.stats.chi2_contingency([a, b], correction=False)
    statistic, freedom = chi_square_of_shares(a / a.sum(), b / b.sum(), a.sum(), b.sum())
    assert (statistic, freedom) == pytest.approx((expected.statistic, expected.dof))


@given(st.floats(0.001, 300), st.integers(1, 40))
def test_tail_of_chi_square(statistic: float, freedom: int) -> None:
    expected = scipy.stats.chi2.sf(statistic, freedom)
    assert chi_square(statistic, freedom) == pytest.approx(expected, rel=1e-9, abs=1e-15)


@given(st.floats(0.0, 1.0), st.floats(1, 1e5))
def test_tail_of_the_kolmogorov_distribution(distance: float, size: float) -> None:
    argument = (sqrt(size) + 0.12 + 0.11 / sqrt(size)) * distance
    expected = scipy.stats.kstwobign.sf(argument)
    assert kolmogorov(distance, size) == pytest.approx(expected, rel=1e-6, abs=1e-5)


@given(st.integers(0, 60), st.integers(60, 90), st.integers(0, 40), st.integers(40, 4000))
def test_shares_beside_fishers_exact_test(a: int, n: int, b: int, m: int) -> None:
    exact = scipy.stats.fisher_exact([[a, n - a], [b, m - b]]).pvalue
    ours = shares_differ(a, n, b, m)
    if exact > 1e-3:
        assert exact / 2 <= ours <= min(1.0, 4 * exact) + 1e-9
    else:
        assert ours < 0.01


def test_many_rows_take_no_more_time_or_precision() -> None:
    assert shares_differ(10**9, 10**10, 10**9, 10**10) == pytest.approx(1, abs=1e-4)
    assert shares_differ(10**9, 10**10, 2 * 10**9, 10**10) == 0


def test_all_beyond_and_unseen_are_bounds_of_what_chance_does() -> None:
    random = np.random.default_rng(7)
    pool = np.repeat(np.arange(12), [40, 30, 10, 6, 5, 4, 3, 2, 2, 1, 1, 1])
    n, seen, beyond = 70, [], []
    for _ in range(2000):
        shuffled = random.permutation(pool)
        first = np.bincount(shuffled[:n], minlength=12)
        second = np.bincount(shuffled[n:], minlength=12)
        seen.append(unseen(list(zip(first.tolist(), second.tolist(), strict=True))))
        order = random.permutation(len(pool))
        above = int(np.sum(order[n:] > order[:n].max()))
        beyond.append(all_beyond(above, n, len(pool) - n))
    for level in (0.2, 0.05, 0.01):
        assert np.mean(np.array(seen) <= level) <= level + 0.02
        assert np.mean(np.array(beyond) <= level) <= level + 0.02


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
