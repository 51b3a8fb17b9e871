"""Models saved with pickle, joblib or skops. Only a replica loads one: it may run anything."""

from __future__ import annotations

import importlib
import pickle
from collections.abc import Callable
from typing import Any

from modelyard_runtime.config import Model
from modelyard_runtime.frameworks.failures import Unservable
from modelyard_runtime.frameworks.files import model_file
from modelyard_runtime.frameworks.signature import Served

_BOOSTERS = ("xgboost", "lightgbm")


def load(model: Model, folder: str) -> Served:
    """Load the object and offer its methods."""
    return served(read(model_file(model, folder), model.format))


def served(loaded: Any) -> Served:
    """Offer the methods of an object that was loaded.

    Raises:
        Unservable: It is none that rows can be scored with.
    """
    package = type(loaded).__module__.partition(".")[0]
    if package in _BOOSTERS and type(loaded).__name__ == "Booster":
        return _adapter(package)(loaded)
    if package == "torch" or isinstance(loaded, dict):
        raise Unservable("the file holds weights or a module of PyTorch, not a whole program")
    return _adapter("estimators")(loaded)


def read(path: str, format: str | None) -> Any:
    """The object in a file of this format."""
    if format == "joblib":
        return importlib.import_module("joblib").load(path)
    if format == "skops":
        skops = importlib.import_module("skops.io")
        # What it would have somebody look at first is trusted here as much as a pickle is.
        return skops.load(path, trusted=skops.get_untrusted_types(file=path))
    with open(path, "rb") as file:
        return pickle.load(file)  # noqa: S301  # that is what a pickle is for, see above


def _adapter(name: str) -> Callable[[Any], Served]:
    offer: Callable[[Any], Served] = importlib.import_module(f"{__package__}.{name}").served
    return offer
