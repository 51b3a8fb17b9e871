"""Which kind of values each column of a fitted estimator was trained with, as far as it tells.

Only what is certain is told: a column that nothing, or that several steps with different wishes,
look at may hold anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags

from modelyard_runtime.frameworks.kinds import NUMBER, TEXT, WORDS, Kind

_NUMBERS = (int, float, np.number)


def kinds_of(estimator: Any, names: Sequence[str]) -> dict[str, Kind]:
    """The kinds of the columns that are known."""
    found: dict[str, set[Kind]] = {}
    for name, kind in _told(getattr(estimator, "best_estimator_", estimator), list(names)):
        found.setdefault(name, set()).add(kind)
    return {name: kinds.pop() for name, kinds in found.items() if len(kinds) == 1}


def _told(estimator: Any, names: list[str]) -> Iterator[tuple[str, Kind]]:
    if isinstance(estimator, Pipeline):
        yield from _told(_first(estimator), names)
    elif isinstance(estimator, ColumnTransformer):
        for _, part, chosen in estimator.transformers_:
            yield from _told(part, _chosen(chosen, names))
    elif hasattr(estimator, "categories_") and len(estimator.categories_) == len(names):
        for name, categories in zip(names, estimator.categories_, strict=True):
            kind = _kind_of_values(categories)
            if kind is not None:
                yield name, kind
    else:
        kind = _kind_by_tags(estimator)
        if kind is not None:
            yield from ((name, kind) for name in names)


def _first(pipeline: Pipeline) -> Any:
    """The first step that looks at the values: an imputer of any values hands the columns on."""
    for _, step in pipeline.steps:
        passes = isinstance(step, SimpleImputer) and step.strategy in ("most_frequent", "constant")
        if step is None or step == "passthrough" or (passes and not step.add_indicator):
            continue
        return step
    return None


def _chosen(chosen: Any, names: list[str]) -> list[str]:
    """The columns that a part of a `ColumnTransformer` gets, where they are listed."""
    if isinstance(chosen, str):
        return [chosen]
    if isinstance(chosen, slice) and isinstance(chosen.start or chosen.stop, str):
        return []
    listed = chosen if isinstance(chosen, slice | int) else list(chosen)
    if isinstance(listed, list) and all(isinstance(one, str) for one in listed):
        return listed
    return [str(name) for name in np.atleast_1d(np.array(names, dtype=object)[listed])]


def _kind_of_values(values: Any) -> Kind | None:
    if values.dtype.kind in "fiu":
        return NUMBER
    there = [one for one in values.tolist() if one is not None and one == one]
    if there and all(isinstance(one, str) for one in there):
        return TEXT
    if there and all(isinstance(one, _NUMBERS) and type(one) is not bool for one in there):
        return NUMBER
    return None


def _kind_by_tags(estimator: Any) -> Kind | None:
    """What scikit-learn's own estimators say that they take."""
    kind = type(estimator)
    if kind.__module__.partition(".")[0] != "sklearn" or not hasattr(estimator, "get_params"):
        return None
    if any(hasattr(value, "get_params") for value in estimator.get_params().values()):
        return None  # it hands its rows on
    tags = get_tags(estimator)
    taken = tags.input_tags
    if taken.string and not taken.two_d_array:
        return WORDS
    if taken.string or taken.categorical or tags.no_validation or not taken.two_d_array:
        return None
    return NUMBER
