"""Objects with the methods of scikit-learn: its own, pipelines, and others' that follow it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags

from modelyard_runtime.arrays import datatype_of
from modelyard_runtime.frameworks.columns import kinds_of
from modelyard_runtime.frameworks.failures import Unservable
from modelyard_runtime.frameworks.inputs import Inputs
from modelyard_runtime.frameworks.matrix import Matrix
from modelyard_runtime.frameworks.signature import Served
from modelyard_runtime.frameworks.texts import Texts
from modelyard_runtime.http.server import HttpError
from modelyard_runtime.signature import JsonSchema
from modelyard_runtime.tensors import TensorSpec

METHODS = (
    "predict",
    "predict_proba",
    "predict_log_proba",
    "decision_function",
    "score_samples",
    "transform",
)
"""What is offered of the methods that a model has."""
_PLAIN = frozenset({"sklearn", "imblearn", "xgboost", "lightgbm"})
_MIXING = frozenset(
    {"ColumnTransformer", "FunctionTransformer", "OneHotEncoder", "OrdinalEncoder", "TargetEncoder"}
)
_IMPUTERS = (SimpleImputer, KNNImputer)
_JSON_TYPES = {"f": "number", "i": "integer", "u": "integer", "b": "boolean"}
_LONGEST = 300


def served(estimator: Any) -> Served:
    """Offer the methods of an estimator, for rows of the kind that it was trained with.

    Raises:
        Unservable: It has none of the methods.
    """
    found = [name for name in METHODS if callable(getattr(estimator, name, None))]
    if not found:
        kind = type(estimator).__name__
        raise Unservable(f"the file holds an object of type `{kind}` without a `predict` method")
    outputs, schema = _outputs(estimator) if found[0] == "predict" else ((), None)
    methods = {name: _method(estimator, name) for name in found}
    return Served(methods, inputs_of(estimator), outputs, schema, takes_frames=True)


def inputs_of(estimator: Any) -> Inputs:
    """The rows that an estimator was trained with, as far as it tells."""
    width = getattr(estimator, "n_features_in_", None)
    names = getattr(estimator, "feature_names_in_", None)
    columns = [str(name) for name in names] if names is not None else None
    if width is None and _takes_texts(estimator):
        return Texts()
    mixes = _mixes(estimator)
    if mixes and columns is not None:
        frames = importlib.import_module(f"{__package__}.frames")  # needs pandas
        kinds = kinds_of(estimator, columns)
        return frames.Frame(columns, kinds=kinds)  # type: ignore[no-any-return]
    return Matrix(
        None if width is None else int(width),
        columns,
        takes_missing=mixes or _takes_missing(estimator),
        takes_text=mixes,
    )


def _method(estimator: Any, name: str) -> Callable[[Any], Any]:
    method = getattr(estimator, name)

    def call(rows: Any) -> Any:
        try:
            return method(rows)
        except ValueError as error:  # what scikit-learn raises for rows that do not suit it
            said = str(error).partition("\n")[0][:_LONGEST]
            raise HttpError(422, f"The model does not take these rows: {said}") from error
        except TypeError as error:  # what comes of a number where it was trained with text
            said = "a value is of another type than it was trained with"
            raise HttpError(422, f"The model does not take these rows: {said}.") from error

    return call


def _takes_texts(estimator: Any) -> bool:
    first = estimator.steps[0][1] if isinstance(estimator, Pipeline) else estimator
    tags = _tags(first)
    return tags is not None and tags.input_tags.string and not tags.input_tags.two_d_array


def _takes_missing(estimator: Any) -> bool:
    """Whether a missing value gets as far as something that knows what to do with it."""
    for step in _steps(getattr(estimator, "best_estimator_", estimator)):
        if isinstance(step, _IMPUTERS):
            return True
        tags = _tags(step)
        if tags is not None and not tags.input_tags.allow_nan and not _is_made_of_others(step):
            return False
    return True


def _is_made_of_others(estimator: Any) -> bool:
    """It hands rows on to estimators of its own: what they take, its tags do not say."""
    return sum(1 for _ in _parts(estimator)) > 1


def _steps(estimator: Any) -> Iterator[Any]:
    if not isinstance(estimator, Pipeline):
        yield estimator
        return
    for _, step in estimator.steps:
        if step is not None and step != "passthrough":
            yield from _steps(step)


def _tags(estimator: Any) -> Any:
    try:
        return get_tags(estimator)
    except (AttributeError, TypeError, ValueError):  # it only resembles an estimator
        return None


def _mixes(estimator: Any) -> bool:
    """Whether columns may be of several types, or be chosen by their names."""
    for part in _parts(estimator):
        kind = type(part)
        if kind.__name__ in _MIXING or kind.__module__.partition(".")[0] not in _PLAIN:
            return True
    return False


def _parts(estimator: Any) -> Iterator[Any]:
    """The estimator and all that it is made of."""
    yield estimator
    if not hasattr(estimator, "get_params"):
        return
    for value in estimator.get_params(deep=True).values():
        if hasattr(value, "get_params"):
            yield value


def _outputs(estimator: Any) -> tuple[tuple[TensorSpec, ...], JsonSchema | None]:
    """What `predict` returns: the classes' type for a classifier, numbers for a regressor."""
    classes = getattr(estimator, "classes_", None)
    kind = getattr(getattr(_tags(estimator), "estimator_type", None), "value", None)
    kind = kind or getattr(_tags(estimator), "estimator_type", None)
    if isinstance(classes, np.ndarray) and classes.ndim == 1:
        dtype = classes.dtype
    elif kind == "regressor":
        dtype = np.dtype(np.float64)
    else:
        return (), None
    item: JsonSchema = {"type": _JSON_TYPES.get(dtype.kind, "string")}
    return (TensorSpec("predict", datatype_of(dtype), (-1,)),), {"type": "array", "items": item}
