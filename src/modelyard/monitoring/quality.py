"""How good answers were, once it is known what was true: formulas, and nothing else.

`n` rows are counted here, with a truth and an answer each.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

_SURE = 1.959963984540054  # of the normal distribution, 95 % lie within so many deviations
_LEAST = float(np.finfo(np.float64).eps)


class Interval(NamedTuple):
    """Where a share lies with 95 % confidence."""

    low: float
    high: float


class Confusion:
    """How often each class was answered where each was true.

    Args:
        truths: The classes that were true.
        answers: Those that were answered, as many.
    """

    def __init__(self, truths: Sequence[str], answers: Sequence[str]) -> None:
        both = np.array([*truths, *answers], dtype=object)
        classes, indices = np.unique(both, return_inverse=True)
        self.classes: tuple[str, ...] = tuple(classes)
        """All that were true or answered, sorted."""
        n, size = len(truths), len(self.classes)
        places = indices[:n] * size + indices[n:]
        self.counts: Indices = np.bincount(places, minlength=size * size).reshape(size, size)
        """A line for each true class, a column for each answered one."""

    @property
    def accuracy(self) -> float:
        """The share of the rows that were answered with the true class."""
        return float(np.trace(self.counts) / self.counts.sum())

    @property
    def balanced_accuracy(self) -> float:
        """The mean of the recalls of all classes that were true at least once."""
        were_true = self.counts.sum(axis=1) > 0
        return float(self._recalls[were_true].mean())

    @property
    def precision(self) -> float:
        """Of each class, the share of its answers that were true, 0 without an answer; the mean
        over all classes."""
        return float(self._precisions.mean())

    @property
    def recall(self) -> float:
        """Of each class, the share of its truths that were answered, 0 without a truth; the mean
        over all classes."""
        return float(self._recalls.mean())

    @property
    def f1(self) -> float:
        """Of each class, the harmonic mean of precision and recall, 0 where both are; the mean
        over all classes."""
        right = np.diag(self.counts)
        return float(_share(2 * right, self.counts.sum(axis=0) + self.counts.sum(axis=1)).mean())

    @property
    def accuracy_interval(self) -> Interval:
        """Wilson's interval of the accuracy, 95 %."""
        return wilson(int(np.trace(self.counts)), int(self.counts.sum()))

    @property
    def _recalls(self) -> Floats:
        return _share(np.diag(self.counts), self.counts.sum(axis=1))

    @property
    def _precisions(self) -> Floats:
        return _share(np.diag(self.counts), self.counts.sum(axis=0))


def wilson(hits: int, n: int) -> Interval:
    """Wilson's score interval, 95 %, of a share that was `hits` of `n`; of none it is all."""
    if not n:
        return Interval(0.0, 1.0)
    share, spread = hits / n, _SURE**2 / n
    middle = (share + spread / 2) / (1 + spread)
    half = _SURE * sqrt(share * (1 - share) / n + spread / n / 4) / (1 + spread)
    low, high = min(middle - half, share), max(middle + half, share)  # but for rounding
    return Interval(max(low, 0.0), min(high, 1.0))


def log_loss(truths: Indices, chances: Floats) -> float:
    """The mean of -ln of the chance that was given to the true class.

    Args:
        truths: The column of each row's true class.
        chances: A line for each row, a column for each class; each at least 2.2e-16 and at most 1
            less that.
    """
    given = chances[np.arange(len(truths)), truths]
    return float(-np.log(np.clip(given, _LEAST, 1 - _LEAST)).mean())


def roc_auc(is_true: NDArray[np.bool_], scores: Floats) -> float | None:
    """The chance that a row of the class has a higher score than one of another; equal ones count
    half.

    None: all rows are of the class, or none is.
    """
    positives = int(is_true.sum())
    negatives = len(is_true) - positives
    if not positives or not negatives:
        return None
    _, group, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks = (ends - (counts - 1) / 2)[group]  # of equal ones the mean
    above = float(ranks[is_true].sum()) - positives * (positives + 1) / 2
    return above / (positives * negatives)


def roc_auc_of_classes(truths: Indices, chances: Floats) -> float | None:
    """`roc_auc` of the second class of two; of more, the mean over each class against the rest.

    Args:
        truths: The column of each row's true class.
        chances: A line for each row, a column for each class.
    """
    of_two = chances.shape[1] == 2
    columns = [1] if of_two else range(chances.shape[1])
    each = [roc_auc(truths == column, chances[:, column]) for column in columns]
    known = [one for one in each if one is not None]
    return sum(known) / len(known) if known else None


class Errors:
    """How far answers are from the truth.

    Args:
        truths: Numbers.
        answers: As many.
    """

    def __init__(self, truths: Floats, answers: Floats) -> None:
        self._truths = truths
        self._errors = answers - truths

    @property
    def mae(self) -> float:
        """The mean of the distances."""
        return float(np.abs(self._errors).mean())

    @property
    def rmse(self) -> float:
        """The root of the mean of the squared distances."""
        return sqrt(float((self._errors**2).mean()))

    @property
    def bias(self) -> float:
        """The mean of answer less truth: above 0, answers are too high."""
        return float(self._errors.mean())

    @property
    def r2(self) -> float | None:
        """1 less the sum of the squared distances over that of the truths from their mean.

        None: the truths are all the same.
        """
        around = float(((self._truths - self._truths.mean()) ** 2).sum())
        return 1 - float((self._errors**2).sum()) / around if around else None


def _share(part: Indices, whole: Indices) -> Floats:
    """Of each; 0 of nothing."""
    result: Floats = np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)
    return result
