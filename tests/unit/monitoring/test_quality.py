"""The formulas say what scikit-learn says."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from modelyard.monitoring.quality import (
    Confusion,
    Errors,
    log_loss,
    roc_auc,
    roc_auc_of_classes,
    wilson,
)

pairs = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd")), min_size=1, max_size=60
)
numbers = st.floats(-1000, 1000).map(lambda value: round(value, 3))


@settings(max_examples=50, deadline=None)
@given(pairs)
def test_classes(rows: list[tuple[str, str]]) -> None:
    truths, answers = map(list, zip(*rows, strict=True))
    found = Confusion(truths, answers)
    macro = metrics.precision_recall_fscore_support(
        truths, answers, average="macro", zero_division=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # there is one class only, or one that was never true
        balanced = metrics.balanced_accuracy_score(truths, answers)
        expected = metrics.confusion_matrix(truths, answers, labels=list(found.classes))
    assert found.accuracy == pytest.approx(metrics.accuracy_score(truths, answers))
    assert found.balanced_accuracy == pytest.approx(balanced)
    assert (found.precision, found.recall, found.f1) == pytest.approx(macro[:3])
    assert found.counts.tolist() == expected.tolist()
    low, high = found.accuracy_interval
    assert 0 <= low <= found.accuracy <= high <= 1


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),  # as published for the method
    [(0, 0, 0, 1), (0, 10, 0, 0.2775), (8, 10, 0.4902, 0.9433), (81, 263, 0.2553, 0.3662)],
)
def test_wilson(hits: int, n: int, low: float, high: float) -> None:
    assert wilson(hits, n) == pytest.approx((low, high), abs=1e-4)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(0, 12).map(lambda n: n / 12)), min_size=1, max_size=60
    )
)
def test_scores_of_one_class(rows: list[tuple[bool, float]]) -> None:
    truths, scores = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    found = roc_auc(truths, scores)
    if truths.all() or not truths.any():
        assert found is None
    else:
        assert found == pytest.approx(metrics.roc_auc_score(truths, scores))


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 4), st.integers(8, 60), st.integers(0, 10_000))
def test_chances_of_classes(size: int, n: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    truths = random.integers(0, size, n)
    truths[:size] = range(size)
    chances = random.integers(0, 5, (n, size)).astype(np.float64) + 0.001
    chances /= chances.sum(axis=1, keepdims=True)
    labels = list(range(size))
    expected = metrics.log_loss(truths, chances, labels=labels)
    assert log_loss(truths, chances) == pytest.approx(expected)
    scores = chances[:, 1] if size == 2 else chances
    auc = metrics.roc_auc_score(truths, scores, multi_class="ovr", labels=labels)
    assert roc_auc_of_classes(truths, chances) == pytest.approx(auc)


def test_certainty_that_was_wrong_is_finite() -> None:
    assert log_loss(np.array([0]), np.array([[0.0, 1.0]])) == pytest.approx(36.04, abs=0.01)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(numbers, numbers), min_size=2, max_size=60))
def test_numbers(rows: list[tuple[float, float]]) -> None:
    truths, answers = np.array(rows).T
    found = Errors(truths, answers)
    assert found.mae == pytest.approx(metrics.mean_absolute_error(truths, answers))
    assert found.rmse == pytest.approx(metrics.root_mean_squared_error(truths, answers))
    assert found.bias == pytest.approx(float((answers - truths).mean()))
    if len(set(truths)) == 1:
        assert found.r2 is None or np.ptp(truths) == 0
    else:
        assert found.r2 == pytest.approx(metrics.r2_score(truths, answers))
