"""Inputs to compare a model and its converted form on: the sample, and rows made to differ.

Always the same rows for the same model and sample.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from modelyard_runtime.frameworks.answers import Array
from modelyard_runtime.optimizing.trees import Thresholds

_SEED = 20260301
_RANDOM = 500
_SPLITS = 1500
"""Thresholds that are tried, chosen at random where there are more."""
_MISSING = 200
_EXTREMES = (0.0, -0.0, 1.0, -1.0, 1e-6, 1e3, -1e3, 1e6, -1e6)


class Probes(NamedTuple):
    """Rows, and how many of each kind there are."""

    rows: Array
    kinds: dict[str, int]


def probes_for(
    model: Any, sample: Array | None, width: int, thresholds: Thresholds, *, takes_missing: bool
) -> Probes:
    """Rows for a model.

    Args:
        model: Of whose pipeline, if it is one, thresholds and random rows go backwards.
        sample: Rows that callers send, if they are known.
        width: Features.
        thresholds: Splits of the model's last step.
        takes_missing: The model takes NaN.
    """
    random = np.random.default_rng(_SEED)
    low, high = _range(sample, width, thresholds)
    inside = low + (high - low) * random.random((_RANDOM, width))
    around = (low + high) / 2 + (high - low) * random.standard_normal((_RANDOM, width))
    made = {"sample": np.empty((0, width)) if sample is None else sample.astype(np.float64)}
    made["uniform"], made["normal"] = _backwards(model, inside), _backwards(model, around)
    base = np.concatenate(list(made.values()))
    if len(thresholds):
        rows = np.concatenate(list(_beside(thresholds, inside, random)))
        made["thresholds"] = _backwards(model, rows)
    made["extremes"] = _extremes(base, random)
    if takes_missing:
        made["missing"] = _missing(base, random)
    kinds = {name: len(rows) for name, rows in made.items() if len(rows)}
    return Probes(np.concatenate(list(made.values())), kinds)


def _range(sample: Array | None, width: int, thresholds: Thresholds) -> tuple[Array, Array]:
    """Where values of each feature lie, as far as sample and thresholds tell."""
    low, high = np.full(width, -1.0), np.full(width, 1.0)
    if sample is not None:
        finite = np.where(np.isfinite(sample), sample, 0.0).astype(np.float64)
        middle, spread = finite.mean(axis=0), np.abs(finite).max(axis=0) + 0.1
        low, high = middle - spread, middle + spread
    for feature in np.unique(thresholds.features):
        values = thresholds.values[thresholds.features == feature]
        margin = (values.max() - values.min()) * 0.1 + 1e-3
        low[feature], high[feature] = values.min() - margin, values.max() + margin
    return low, high


def _beside(thresholds: Thresholds, rows: Array, random: np.random.Generator) -> Iterator[Array]:
    """Rows with one value on a threshold, just beside it, and where rounding would put it."""
    count = min(_SPLITS, len(thresholds))
    chosen = random.choice(len(thresholds), count, replace=False)
    features, values = thresholds.features[chosen], thresholds.values[chosen]
    narrow = values.astype(np.float32)
    up, down = np.float32(np.inf), np.float32(-np.inf)
    for near in (
        values,
        np.nextafter(values, np.inf),
        np.nextafter(values, -np.inf),
        narrow.astype(np.float64),
        np.nextafter(narrow, up).astype(np.float64),
        np.nextafter(narrow, down).astype(np.float64),
        (values + narrow) / 2,
    ):
        copies = rows[random.integers(len(rows), size=count)]
        copies[np.arange(count), features] = near
        yield copies


def _backwards(model: Any, rows: Array) -> Array:
    """Rows that a pipeline's first steps turn into these, where each step can be undone."""
    for _, step in reversed(getattr(model, "steps", [])[:-1]):
        if step is None or step == "passthrough":
            continue
        if not hasattr(step, "inverse_transform"):
            return rows
        rows = np.asarray(step.inverse_transform(rows), dtype=np.float64)
    return rows


def _extremes(base: Array, random: np.random.Generator) -> Array:
    rows = base[random.integers(len(base), size=len(_EXTREMES) * 20)].copy()
    columns = random.integers(rows.shape[1], size=len(rows))
    rows[np.arange(len(rows)), columns] = np.tile(_EXTREMES, 20)
    return rows


def _missing(base: Array, random: np.random.Generator) -> Array:
    rows = base[random.integers(len(base), size=_MISSING)].copy()
    rows[random.random(rows.shape) < 0.3] = np.nan
    return rows
