"""Keras models (`.keras`, `.h5`), computed by whichever backend the image has."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from modelyard_runtime.arrays import datatype_of
from modelyard_runtime.config import Model
from modelyard_runtime.frameworks.answers import Array
from modelyard_runtime.frameworks.failures import Unservable
from modelyard_runtime.frameworks.files import model_file
from modelyard_runtime.frameworks.named import Field, Named
from modelyard_runtime.frameworks.signature import Served
from modelyard_runtime.tensors import TensorSpec

Predict = Callable[[dict[str, Array]], dict[str, Array]]

_BACKENDS = ("tensorflow", "torch", "jax")
"""In the order in which they are taken; Keras reads the choice when it is imported."""


def _choose_backend() -> str:
    found = (name for name in _BACKENDS if importlib.util.find_spec(name) is not None)
    return os.environ.setdefault("KERAS_BACKEND", next(found, "numpy"))


_BACKEND = _choose_backend()
import keras  # noqa: E402


def load(model: Model, folder: str) -> Served:
    """Load the model and offer its forward pass as `predict`."""
    return serve(model_file(model, folder))


def serve(path: str) -> Served:
    """Serve a file that `model.save` wrote; code inside it is not run."""
    network = keras.saving.load_model(path, compile=False, safe_mode=True)
    fields = [_field(tensor) for tensor in getattr(network, "inputs", None) or ()]
    if not fields:
        raise Unservable("it does not say what it takes: build it before it is saved")
    named = zip(network.output_names, network.outputs, strict=True)
    outputs = [_spec(name, tensor) for name, tensor in named]
    inputs = Named(fields)
    batches = all(spec.shape[:1] == (-1,) for spec in (*inputs.specs, *outputs))
    predict = _call(network)
    if batches and _BACKEND == "jax":
        predict = _rounded(predict)
    return Served({"predict": predict}, inputs, tuple(outputs), batches=batches)


def _field(tensor: Any) -> Field:
    if not tensor.shape:
        raise Unservable(f"its input `{tensor.name}` has no dimension for rows")
    try:
        dtype = np.dtype(tensor.dtype)
    except TypeError:
        raise Unservable(f"its input `{tensor.name}` is of type {tensor.dtype}") from None
    return Field(tensor.name, dtype, _shape(tensor))


def _spec(name: str, tensor: Any) -> TensorSpec:
    return TensorSpec(name, datatype_of(np.dtype(tensor.dtype)), _shape(tensor))


def _shape(tensor: Any) -> tuple[int, ...]:
    return tuple(-1 if length is None else int(length) for length in tensor.shape)


def _call(network: Any) -> Predict:
    wanted = network.input  # one tensor, or several in a list or by name
    names = network.output_names

    def call(rows: dict[str, Array]) -> dict[str, Array]:
        if isinstance(wanted, dict):
            given: Any = {key: rows[tensor.name] for key, tensor in wanted.items()}
        elif isinstance(wanted, list | tuple):
            given = [rows[tensor.name] for tensor in wanted]
        else:
            given = rows[wanted.name]
        found = network.predict_on_batch(given)
        if isinstance(found, dict):
            return {str(name): np.asarray(value) for name, value in found.items()}
        values = found if isinstance(found, list | tuple) else [found]
        return {name: np.asarray(value) for name, value in zip(names, values, strict=True)}

    return call


def _rounded(predict: Predict) -> Predict:
    """Calls with the next power of two of rows: JAX compiles anew for each number of them."""

    def call(rows: dict[str, Array]) -> dict[str, Array]:
        count = len(next(iter(rows.values())))
        whole = 1 << (count - 1).bit_length()
        padded = {
            name: np.concatenate([array, np.repeat(array[-1:], whole - count, axis=0)])
            for name, array in rows.items()
        }
        return {name: array[:count] for name, array in predict(padded).items()}

    return call
