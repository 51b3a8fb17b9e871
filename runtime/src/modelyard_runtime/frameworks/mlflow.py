"""MLflow's model folders: by the framework's own adapter where there is one, else by MLflow."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import yaml

from modelyard_runtime.config import Model
from modelyard_runtime.frameworks.failures import Unservable
from modelyard_runtime.frameworks.frames import Frame
from modelyard_runtime.frameworks.inputs import Inputs
from modelyard_runtime.frameworks.matrix import INPUT, Matrix
from modelyard_runtime.frameworks.named import Field, Named
from modelyard_runtime.frameworks.signature import Served

_DTYPES = {
    "double": "float64",
    "float": "float32",
    "long": "int64",
    "integer": "int32",
    "boolean": "bool",
    "string": "object",
    "datetime": "datetime64[ns]",
}
"""Types of columns, as pandas holds them."""
_DESCRIPTION = "MLmodel"


def load(model: Model, folder: str) -> Served:
    """Load what the description says, and take the rows that its signature says."""
    root = folder if os.path.exists(os.path.join(folder, _DESCRIPTION)) else _only_folder(folder)
    with open(os.path.join(root, _DESCRIPTION), encoding="utf-8") as file:
        description = yaml.safe_load(file)
    flavors = description.get("flavors") or {}
    columns = _columns(description)
    for name, adapter in _ADAPTERS.items():
        if name in flavors:
            served = adapter(root, flavors[name])
            return _preferring(_typed(served, columns), flavors)
    return _by_mlflow(root, flavors, description)


def _only_folder(folder: str) -> str:
    """The folder inside, when the model was registered with the one around it."""
    inside = [entry.path for entry in os.scandir(folder) if entry.is_dir()]
    found = [path for path in inside if os.path.exists(os.path.join(path, _DESCRIPTION))]
    if len(found) != 1:
        raise Unservable(f"it has no file `{_DESCRIPTION}`")
    return found[0]


def _scikit_learn(root: str, flavor: Mapping[str, Any]) -> Served:
    pickles = _adapter("pickles")
    format = "skops" if flavor.get("serialization_format") == "skops" else "pickle"
    loaded = pickles.read(os.path.join(root, flavor["pickled_model"]), format)
    return pickles.served(loaded)  # type: ignore[no-any-return]


def _onnx(root: str, flavor: Mapping[str, Any]) -> Served:
    return _adapter("onnx").serve(os.path.join(root, flavor["data"]))  # type: ignore[no-any-return]


def _boosted(package: str) -> Callable[[str, Mapping[str, Any]], Served]:
    """XGBoost and LightGBM: a booster, or an object of the scikit-learn interface."""

    def load_booster(root: str, flavor: Mapping[str, Any]) -> Served:
        path = os.path.join(root, flavor["data"])
        module, _, name = str(flavor.get("model_class", "")).rpartition(".")
        if path.endswith(".pkl"):
            pickles = _adapter("pickles")
            return pickles.served(pickles.read(path, "pickle"))  # type: ignore[no-any-return]
        if package == "xgboost" and module == "xgboost.sklearn":
            wrapper = getattr(importlib.import_module(package), name)()
            wrapper.load_model(path)
            return _adapter("estimators").served(wrapper)  # type: ignore[no-any-return]
        return _adapter(package).serve(path)  # type: ignore[no-any-return]

    return load_booster


def _keras(root: str, flavor: Mapping[str, Any]) -> Served:
    folder = os.path.join(root, flavor.get("data", "data"))
    path = os.path.join(folder, "model.keras") if os.path.isdir(folder) else folder
    return _adapter("keras").serve(path)  # type: ignore[no-any-return]


_ADAPTERS: dict[str, Callable[[str, Mapping[str, Any]], Served]] = {
    "sklearn": _scikit_learn,
    "onnx": _onnx,
    "xgboost": _boosted("xgboost"),
    "lightgbm": _boosted("lightgbm"),
    "keras": _keras,
}
"""Flavors that are loaded without MLflow, which then need not be in the image."""


def _adapter(name: str) -> Any:
    return importlib.import_module(f"{__package__}.{name}")


def _by_mlflow(root: str, flavors: Mapping[str, Any], description: Mapping[str, Any]) -> Served:
    """What only MLflow knows to load: models of Python code, and frameworks without an adapter."""
    if "python_function" not in flavors:
        raise Unservable("it has no flavor that can be scored")
    loaded = importlib.import_module("mlflow.pyfunc").load_model(root)
    inputs = _columns(description) or _tensors(description) or Matrix(None, takes_text=True)
    named = isinstance(inputs, Named)

    def predict(rows: Any) -> Any:
        if named and list(rows) == [INPUT]:
            rows = rows[INPUT]
        return loaded.predict(rows)

    return Served({"predict": predict}, inputs, batches=False)


def _inputs_of(description: Mapping[str, Any]) -> list[dict[str, Any]]:
    text = (description.get("signature") or {}).get("inputs")
    return json.loads(text) if isinstance(text, str) else []


def _columns(description: Mapping[str, Any]) -> Inputs | None:
    """A data frame, when the signature lists columns by name."""
    found = _inputs_of(description)
    if not found or any("name" not in one or one["type"] not in _DTYPES for one in found):
        return None
    optional = frozenset(one["name"] for one in found if not one.get("required", True))
    dtypes = {one["name"]: _DTYPES[one["type"]] for one in found}
    return Frame([one["name"] for one in found], dtypes, optional)


def _tensors(description: Mapping[str, Any]) -> Inputs | None:
    """Named tensors, when the signature lists those."""
    found = _inputs_of(description)
    if not found or any(one.get("type") != "tensor" for one in found):
        return None
    return Named([_field(one) for one in found])


def _field(given: Mapping[str, Any]) -> Field:
    spec = given["tensor-spec"]
    dtype = np.dtype(spec["dtype"])
    shape = tuple(int(length) for length in spec["shape"])
    if dtype.kind == "O":  # how numpy calls text without a length
        dtype = np.dtype(np.str_)
    return Field(given.get("name", INPUT), dtype, shape)


def _typed(served: Served, columns: Inputs | None) -> Served:
    """Rows as the signature says, where the model takes a data frame as well as an array."""
    return replace(served, inputs=columns) if columns and served.takes_frames else served


def _preferring(served: Served, flavors: Mapping[str, Any]) -> Served:
    """The method first that `pyfunc_predict_fn` chose when the model was saved."""
    chosen = str((flavors.get("python_function") or {}).get("predict_fn"))
    if chosen not in served.methods or chosen == next(iter(served.methods)):
        return served
    methods = {chosen: served.methods[chosen], **served.methods}
    return replace(served, methods=methods, outputs=(), output_schema=None)
