"""When two forms of a model are found to answer the same."""

from __future__ import annotations

import numpy as np
import pytest

from modelyard_runtime.optimizing.agreement import compare

ROWS = np.array([[1.0, 2.0], [3.0, np.nan]])
LABELS = np.array(["a", "b"])


def test_equal_answers_agree() -> None:
    found = compare(ROWS, {"predict": LABELS}, {"predict": LABELS.copy()}, chosen=True)
    assert (found.rows, found.differing, found.ties, found.worst) == (2, 0, 0, None)


def test_another_class_differs_and_is_shown() -> None:
    found = compare(ROWS, {"predict": LABELS}, {"predict": np.array(["a", "a"])}, chosen=True)
    assert found.differing == 1
    assert found.worst is not None
    assert found.worst.row == [3.0, None]
    assert (found.worst.expected, found.worst.got) == ("b", "a")


def test_another_class_of_a_tie_is_counted_apart() -> None:
    even = {"predict": LABELS, "predict_proba": np.array([[0.9, 0.1], [0.5, 0.5]])}
    got = {**even, "predict": np.array(["a", "a"])}
    found = compare(ROWS, even, got, chosen=True)
    assert (found.differing, found.ties) == (0, 1)


def test_classes_that_are_floats_are_no_measurements() -> None:
    wanted, got = np.array([1.0, 2.0]), np.array([1.0, 2.00001])
    assert compare(ROWS, {"predict": wanted}, {"predict": got}, chosen=True).differing == 1
    assert compare(ROWS, {"predict": wanted}, {"predict": got}, chosen=False).differing == 0


def test_numbers_agree_within_the_tolerance() -> None:
    wanted = np.array([1000.0, 0.0])
    near = {"predict": wanted + np.array([0.09, 0.000009])}
    found = compare(ROWS, {"predict": wanted}, near, chosen=False)
    assert found.differing == 0
    assert found.largest == pytest.approx(0.09)
    far = {"predict": wanted + np.array([0.11, 0.000011])}
    assert compare(ROWS, {"predict": wanted}, far, chosen=False).differing == 2


def test_nan_and_infinity_agree_only_with_themselves() -> None:
    wanted = np.array([np.nan, np.inf])
    same = compare(ROWS, {"predict": wanted}, {"predict": wanted.copy()}, chosen=False)
    assert (same.differing, same.largest) == (0, 0.0)
    other = compare(ROWS, {"predict": wanted}, {"predict": np.array([0.0, -np.inf])}, chosen=False)
    assert other.differing == 2


def test_answers_of_another_shape_differ_everywhere() -> None:
    found = compare(ROWS, {"predict": LABELS}, {"predict": LABELS[:, None]}, chosen=True)
    assert found.differing == 2
    assert found.worst is not None
    assert found.worst.got == "shape (2, 1)"


def test_the_worst_row_is_the_one_that_differs_most() -> None:
    wanted = {"predict_proba": np.array([[0.5, 0.5], [0.9, 0.1]])}
    got = {"predict_proba": np.array([[0.49, 0.51], [0.1, 0.9]])}
    found = compare(ROWS, wanted, got, chosen=True)
    assert found.differing == 2
    assert found.worst is not None
    assert found.worst.row == [3.0, None]
