"""Boosters of XGBoost, as its own files hold them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import xgboost as xgb

from modelyard_runtime.config import Model
from modelyard_runtime.frameworks.answers import Array
from modelyard_runtime.frameworks.failures import Unservable
from modelyard_runtime.frameworks.files import model_file
from modelyard_runtime.frameworks.matrix import Matrix
from modelyard_runtime.frameworks.signature import Served

_BINARY = "binary:logistic"
_MULTI = "multi:softprob"
_CLASSIFIER = '"_estimator_type": "classifier"'


def load(model: Model, folder: str) -> Served:
    """Read a file that `save_model` wrote."""
    return serve(model_file(model, folder))


def serve(path: str) -> Served:
    """Serve a file, whatever its name."""
    booster = xgb.Booster()
    booster.load_model(path)
    return served(booster)


def served(booster: xgb.Booster) -> Served:
    """Offer what the booster predicts, and probabilities of every class for a classifier.

    `predict` gives what the library's own `predict` gives of the object that was saved: the
    booster's value, or the class if a classifier of the scikit-learn interface saved it.

    Raises:
        Unservable: Features are categories, whose coding the file does not have.
    """
    if "c" in (booster.feature_types or ()):
        raise Unservable("it was trained with categorical features, whose coding is not in it")
    config = json.loads(booster.save_config())["learner"]
    values = _predict(booster, config["gradient_booster"]["name"])
    inputs = Matrix(booster.num_features(), booster.feature_names, dtype=np.dtype(np.float32))
    return Served(_methods(booster, values, config["objective"]["name"]), inputs)


def _predict(booster: xgb.Booster, kind: str) -> Callable[[Array], Array]:
    if kind != "gbtree":  # other kinds cannot read the array where it is, or sum in another order
        names = booster.feature_names
        return lambda rows: booster.predict(xgb.DMatrix(rows, feature_names=names))
    return booster.inplace_predict


def _methods(
    booster: xgb.Booster, values: Callable[[Array], Array], objective: str
) -> dict[str, Callable[[Any], Any]]:
    if objective not in (_BINARY, _MULTI):
        return {"predict": values}

    def probabilities(rows: Array) -> Array:
        found = values(rows)
        return found if found.ndim == 2 else np.column_stack((1.0 - found, found))

    def classes(rows: Array) -> Array:
        found = values(rows)
        return found.argmax(axis=1) if found.ndim == 2 else (found > 0.5).astype(np.int64)

    wrapped = _CLASSIFIER in (booster.attr("scikit_learn") or "")
    return {"predict": classes if wrapped else values, "predict_proba": probabilities}
