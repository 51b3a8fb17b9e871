"""How likely a difference between two samples is if both are of the same."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb, erfc, exp, isfinite, lgamma, log, pi, sqrt

_FEW = 10
"""Expected count below which probabilities are summed up one by one."""


def kolmogorov(distance: float, size: float) -> float:
    """Probability of a greatest distance between two distribution functions, or a larger one.

    Args:
        distance: 0 to 1.
        size: Effective number: 1 / (1/n + 1/m).

    The limit distribution, at the argument that M. A. Stephens (1970) gives for finite samples.
    """
    root = sqrt(size)
    x = (root + 0.12 + 0.11 / root) * distance
    if x < 0.3:  # there it is 1 to five digits, and the series is slow
        return 1.0
    terms = (2 * (-1.0) ** (j - 1) * exp(-2 * j * j * x * x) for j in range(1, 101))
    return min(1.0, max(0.0, float(sum(terms))))


def chi_square(statistic: float, freedom: int) -> float:
    """Probability of a chi-square of so many degrees of freedom, or a larger one."""
    if freedom <= 0 or statistic <= 0:
        return 1.0
    half = statistic / 2
    if freedom % 2:
        total, term = erfc(sqrt(half)), exp(-half) * sqrt(half / pi) * 2
        first = 3
    else:
        total, term = 0.0, exp(-half)
        first = 2
    for degree in range(first, freedom + 1, 2):
        total += term
        term *= half / (degree / 2)
    return min(1.0, total)


def shares_differ(a: int, n: int, b: int, m: int) -> float:
    """Probability that shares as far apart as a/n and b/m come from the same, two-sided.

    Chi-square with Yates's correction; Fisher's exact test where a count that is expected is small.
    """
    both, whole = a + b, n + m
    if not both or both == whole:
        return 1.0
    expected = min(both, whole - both) * min(n, m) / whole
    if expected < _FEW:
        return _fisher(a, n, b, m)
    difference = max(abs(a * m - b * n) - whole / 2, 0.0)
    # in floats: products of four counts are large
    statistic = difference / n * difference / m * whole / both / (whole - both)
    return chi_square(statistic, 1)


def _fisher(a: int, n: int, b: int, m: int) -> float:
    """Twice the smaller tail."""
    if (a + b) * 2 > n + m:  # the rarer outcome counts
        a, b = n - a, m - b
    if n > m:
        a, n, b, m = b, m, a, n
    both = a + b
    most = min(n, both)
    upper = sum(_hypergeometric(i, n, m, both) for i in range(a, most + 1))
    lower = sum(_hypergeometric(i, n, m, both) for i in range(max(0, both - m), a + 1))
    return min(1.0, 2 * min(upper, lower))


def _hypergeometric(i: int, n: int, m: int, both: int) -> float:
    """Probability that i of so many are among the n, and the rest among the m."""
    return exp(_log_comb(n, i) + _log_comb(m, both - i) - _log_comb(n + m, both))


def _log_comb(n: int, k: int) -> float:
    if k < 0 or k > n:
        return -1e9
    if n < 50:
        return log(comb(n, k))
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


def all_beyond(count: int, n: int, m: int) -> float:
    """Probability that the `count` greatest of n + m are all among the m."""
    if count > m:
        return 0.0
    return exp(_log_comb(m, count) - _log_comb(n + m, count)) if count else 1.0


def unseen(counts: Sequence[tuple[int, int]]) -> float:
    """Probability that a value as frequent as the most frequent new one is missed by the first.

    Args:
        counts: How often each value is in the first sample, and in the second.

    Of t that there are in both, all are in the second with a probability of at most
    (m / (n + m))^t; these add up over all values that are as frequent.
    """
    n, m = sum(a for a, _ in counts), sum(b for _, b in counts)
    frequent = max((b for a, b in counts if a == 0), default=0)
    if not frequent or not n:
        return 1.0
    ratio = log(m / (n + m))
    return min(1.0, sum(exp((a + b) * ratio) for a, b in counts if a + b >= frequent))


def holm(probabilities: Sequence[float]) -> list[float]:
    """Probabilities of several tests, adjusted so that any of them is small by chance as seldom.

    S. Holm (1979): whatever depends on what among them.
    """
    assert all(isfinite(p) for p in probabilities)
    order = sorted(range(len(probabilities)), key=probabilities.__getitem__)
    adjusted = [1.0] * len(probabilities)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * probabilities[index]))
        adjusted[index] = highest
    return adjusted
