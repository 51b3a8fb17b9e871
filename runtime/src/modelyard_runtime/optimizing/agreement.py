"""Compares what a model and its converted form answer, row by row."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from modelyard_runtime.frameworks.answers import Array

RTOL, ATOL = 1e-4, 1e-5
"""Numbers agree when they differ by at most ATOL + RTOL times the model's own."""
_LONGEST_ROW = 50


class Worst(msgspec.Struct, frozen=True):
    """The row on which two forms differ most."""

    method: str
    row: list[float | None]
    """Its values, the first of very many; null for a missing one."""
    expected: str
    got: str


class Agreement(msgspec.Struct, frozen=True):
    """How well a form agrees with the model."""

    rows: int
    differing: int
    """Rows whose answer is another, beyond the tolerance."""
    ties: int
    """Rows with another class, where the model finds both as probable within the tolerance."""
    largest: float
    """Largest absolute difference of two numbers."""
    worst: Worst | None = None


def compare(
    rows: Array, expected: dict[str, Array], got: dict[str, Array], *, chosen: bool
) -> Agreement:
    """Compare the answers of methods to the same rows.

    Args:
        rows: What was asked.
        expected: Answers of the model, by method.
        got: Answers of the other form.
        chosen: `predict` names a class, which is the same or another; else it measures.
    """
    probabilities = expected.get("predict_proba")
    differing = np.zeros(len(rows), dtype=bool)
    ties, largest, worst = 0, 0.0, None
    for name, wanted in expected.items():
        found = got[name]
        if wanted.shape != found.shape:
            return _shapes_differ(rows, name, wanted, found)
        if name != "predict" or not chosen:
            wrong, gap = _unlike(wanted, found)
            largest = max(largest, float(np.nanmax(gap, initial=0.0)))
        else:
            wrong = wanted != found
            tied = wrong & _tied(probabilities, len(rows))
            ties += int(tied.sum())
            wrong &= ~tied
            gap = wrong.astype(float)
        by_row = wrong.reshape(len(rows), -1).any(axis=1)
        if by_row.any() and worst is None:
            worst = _worst(name, rows, wanted, found, np.where(wrong, gap, -1.0))
        differing |= by_row
    return Agreement(len(rows), int(differing.sum()), ties, largest, worst)


def _unlike(wanted: Array, found: Array) -> tuple[Array, Array]:
    """Which numbers differ, and by how much."""
    with np.errstate(invalid="ignore", over="ignore"):
        gap = np.abs(found.astype(np.float64) - wanted)
        same = (wanted == found) | (np.isnan(wanted) & np.isnan(found))
        near = np.isfinite(gap) & (gap <= ATOL + RTOL * np.abs(wanted))
    return ~(same | near), np.where(same, 0.0, np.nan_to_num(gap, nan=np.inf))


def _tied(probabilities: Array | None, rows: int) -> Array:
    """Rows on which the model itself finds two classes equally probable."""
    if probabilities is None or probabilities.ndim != 2 or probabilities.shape[1] < 2:
        return np.zeros(rows, dtype=bool)
    best = np.sort(probabilities, axis=1)[:, -2:]
    return np.asarray(best[:, 1] - best[:, 0] <= ATOL + RTOL * best[:, 1])


def _worst(name: str, rows: Array, wanted: Array, found: Array, gap: Array) -> Worst:
    at = int(gap.reshape(len(rows), -1).max(axis=1).argmax())
    return Worst(name, _shown(rows[at]), str(wanted[at].tolist()), str(found[at].tolist()))


def _shapes_differ(rows: Array, name: str, wanted: Array, found: Array) -> Agreement:
    worst = Worst(name, _shown(rows[0]), f"shape {wanted.shape}", f"shape {found.shape}")
    return Agreement(len(rows), len(rows), 0, 0.0, worst)


def _shown(row: Array) -> list[Any]:
    return [float(value) if np.isfinite(value) else None for value in row[:_LONGEST_ROW]]
