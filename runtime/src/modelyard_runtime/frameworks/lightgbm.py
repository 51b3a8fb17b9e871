"""Boosters of LightGBM, as its own text files hold them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import lightgbm as lgb
import numpy as np

from modelyard_runtime.config import Model
from modelyard_runtime.frameworks.answers import Array
from modelyard_runtime.frameworks.failures import Unservable
from modelyard_runtime.frameworks.files import model_file
from modelyard_runtime.frameworks.matrix import Matrix
from modelyard_runtime.frameworks.signature import Served

_CLASSIFYING = re.compile(r"^objective=(binary|multiclass|multiclassova)\b", re.MULTILINE)
_UNNAMED = re.compile(r"Column_\d+")


def load(model: Model, folder: str) -> Served:
    """Read a file that `save_model` wrote."""
    return serve(model_file(model, folder))


def serve(path: str) -> Served:
    """Serve a file, whatever its name."""
    return served(lgb.Booster(model_file=path))


def served(booster: lgb.Booster) -> Served:
    """Offer what the booster predicts, and probabilities of every class for a classifier.

    Raises:
        Unservable: Columns are categories of pandas, which only a data frame can bring.
    """
    if any(booster.pandas_categorical or ()):
        raise Unservable("it was trained with categorical columns of pandas")
    names = booster.feature_name()
    unnamed = all(_UNNAMED.fullmatch(name) for name in names)
    methods: dict[str, Callable[[Any], Any]] = {"predict": booster.predict}
    if _CLASSIFYING.search(booster.model_to_string(num_iteration=1)):
        methods["predict_proba"] = _probabilities(booster)
    return Served(methods, Matrix(booster.num_feature(), None if unnamed else names))


def _probabilities(booster: lgb.Booster) -> Callable[[Array], Array]:
    def probabilities(rows: Array) -> Array:
        found = np.asarray(booster.predict(rows))
        return found if found.ndim == 2 else np.column_stack((1.0 - found, found))

    return probabilities
