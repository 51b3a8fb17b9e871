"""Serves a model without a scoring script: loads its files and offers its own methods.

Each framework has an adapter, a module that imports its package at the top and is imported only
when a model of that framework is served. What an adapter makes of the files is a `Served`.
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType

from modelyard_runtime.causes import Scene, StartFailed
from modelyard_runtime.config import Model
from modelyard_runtime.entry import Entry
from modelyard_runtime.frameworks import failures

_ADAPTERS = {
    "pickle": "pickles",
    "joblib": "pickles",
    "skops": "pickles",
    "onnx": "onnx",
    "xgboost": "xgboost",
    "lightgbm": "lightgbm",
    "torchscript": "torch",
    "torch_export": "torch",
    "keras": "keras",
    "mlflow": "mlflow",
}
"""Modules of this package by the format that a model was registered with."""
_PLATFORMS = {"onnx": "onnx_onnxv1", "torchscript": "pytorch_torchscript"}
"""Names that the Open Inference Protocol has given; others are `<framework>_<format>`."""


def load(models: Sequence[Model], scene: Scene) -> Entry:
    """Load the model of an image that has no script.

    Raises:
        StartFailed: With the cause: there is not exactly one, it cannot be served without a
            script, or not be loaded.
    """
    if len(models) != 1:
        raise StartFailed(failures.not_one(models))
    model = models[0]
    adapter = "optimized" if model.optimized else _ADAPTERS.get(model.format or "")
    if adapter is None:
        problem = f"its format, `{model.format or 'unknown'}`, is not one that is served so"
        raise StartFailed(failures.needs_script(model, problem))
    folder = os.path.join(scene.models_root, model.path)
    try:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            return _entry(_import(adapter), model, folder, scene)
    except StartFailed:
        raise
    except BaseException as error:  # also SystemExit: a pickle may do anything
        raise StartFailed(failures.not_loaded(error, model, scene)) from error
    finally:
        # Rows are put in the order of the names: an array says all that a frame would.
        warnings.filterwarnings("ignore", "X does not have valid feature names")
        # The runtime tries for itself whether a fork of this process is of use.
        warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
        for warning in seen:
            sys.stderr.write(f"modelyard: {failures.readable(warning.message)}\n")


def _import(adapter: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{adapter}")


def _entry(adapter: ModuleType, model: Model, folder: str, scene: Scene) -> Entry:
    signature = _import("signature")  # needs numpy, which is there only if the model needs it
    served = adapter.load(model, folder)
    return Entry(
        signature.scoring(served.methods),
        signature.ModelSignature(served),
        scene,
        batching=signature.RowBatching(served) if served.batches else None,
        model_name=model.name,
        model_versions=(model.version,),
        platform=_PLATFORMS.get(model.format or "", f"{model.framework or 'model'}_{model.format}"),
    )
