"""Finds the file of a model folder that is the model: by the format it was registered with."""

from __future__ import annotations

import os

from modelyard_runtime.config import Model
from modelyard_runtime.frameworks.failures import ambiguous

_ENDINGS = {
    "pickle": (".pkl", ".pickle", ".p"),
    "joblib": (".joblib", ".joblib.gz", ".joblib.z", ".joblib.lz4", ".pkl", ".pkl.gz", ".pkl.z"),
    "skops": (".skops",),
    "onnx": (".onnx",),
    "xgboost": (".ubj", ".json", ".xgb", ".model", ".bin"),
    "lightgbm": (".txt", ".lgb", ".lightgbm", ".model"),
    "torchscript": (".pt", ".pth", ".ts", ".torchscript"),
    "torch_export": (".pt2",),
    "keras": (".keras", ".h5", ".hdf5"),
}


def model_file(model: Model, folder: str) -> str:
    """Path of the one file: the only one there is, or the only one with an ending of the format.

    Raises:
        StartFailed: There is none, or more than one.
    """
    files = [
        os.path.join(place, name)
        for place, _, names in os.walk(folder)
        for name in names
        if not name.startswith(".")
    ]
    if len(files) == 1:
        return files[0]
    endings = _ENDINGS.get(model.format or "", ())
    found = sorted(path for path in files if path.lower().endswith(endings))
    if len(found) != 1:
        raise ambiguous(model, folder, [os.path.relpath(path, folder) for path in found])
    return found[0]
