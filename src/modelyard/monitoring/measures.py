"""How far two distributions are apart. Definitions stand in docs/concepts/drift.md."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

EPSILON = 1e-4
"""Share that stands for one of nothing in `psi`, whose logarithm has no value."""


class Points(NamedTuple):
    """Numbers in order, and their shares, which are 1 together."""

    numbers: np.ndarray
    shares: np.ndarray


def psi(baseline: np.ndarray, window: np.ndarray) -> float:
    """Population stability index of shares: the sum of (w - b) ln(w / b)."""
    b, w = np.maximum(baseline, EPSILON), np.maximum(window, EPSILON)
    return float(np.sum((w - b) * np.log(w / b)))


def jensen_shannon(baseline: np.ndarray, window: np.ndarray) -> float:
    """Jensen-Shannon distance of shares, base 2: 0 for the same ones, 1 for none in common."""
    middle = (baseline + window) / 2
    divergence = (_relative_entropy(baseline, middle) + _relative_entropy(window, middle)) / 2
    return float(np.sqrt(max(divergence, 0.0)))


def _relative_entropy(shares: np.ndarray, other: np.ndarray) -> float:
    there = shares > 0
    return float(np.sum(shares[there] * np.log2(shares[there] / other[there])))


def kolmogorov_smirnov(baseline: Points, window: Points) -> float:
    """Greatest distance between two distribution functions."""
    numbers = np.union1d(baseline.numbers, window.numbers)
    return float(np.max(np.abs(_cumulated(baseline, numbers) - _cumulated(window, numbers))))


def wasserstein(baseline: Points, window: Points) -> float:
    """Area between two distribution functions: how far the mass has moved, in the numbers' unit."""
    numbers = np.union1d(baseline.numbers, window.numbers)
    apart = np.abs(_cumulated(baseline, numbers) - _cumulated(window, numbers))
    return float(np.sum(apart[:-1] * np.diff(numbers)))


def binned(points: Points, edges: np.ndarray) -> np.ndarray:
    """Shares below, between (the left edge excluded, the right one included) and above edges."""
    below = _cumulated(points, edges)
    return np.diff(np.concatenate(([0.0], below, [1.0])))


def without_rare(
    baseline: np.ndarray, window: np.ndarray, n: float, m: float
) -> tuple[np.ndarray, np.ndarray]:
    """Shares of two samples of n and m, where the classes with less than 5 are one class.

    So many are expected on the smaller side if both are of the same.
    """
    pooled = (baseline * n + window * m) / (n + m)
    rare = pooled * min(n, m) < 5
    if not rare.any():
        return baseline, window
    return (
        np.append(baseline[~rare], baseline[rare].sum()),
        np.append(window[~rare], window[rare].sum()),
    )


def chi_square_of_shares(
    baseline: np.ndarray, window: np.ndarray, n: float, m: float
) -> tuple[float, int]:
    """Chi-square of the shares of two samples of n and m, and its degrees of freedom."""
    pooled = (baseline * n + window * m) / (n + m)
    there = pooled * min(n, m) >= 1
    apart = np.square(baseline - window)[there] / pooled[there]
    return float(apart.sum()) / (1 / n + 1 / m), max(int(there.sum()) - 1, 0)


def _cumulated(points: Points, at: np.ndarray) -> np.ndarray:
    """Share of the numbers that are at most so large."""
    cumulated = np.concatenate(([0.0], np.cumsum(points.shares)))
    found: np.ndarray = cumulated[np.searchsorted(points.numbers, at, side="right")]
    return found
