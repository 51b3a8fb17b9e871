"""PyTorch programs: exported ones (`torch.export.save`) and TorchScript (`torch.jit.save`).

An exported program says what it takes. TorchScript does not: its rows may have any shape, numbers
out of JSON are 32-bit floats, and requests are not scored together.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from modelyard_runtime.config import Model
from modelyard_runtime.frameworks.answers import Array
from modelyard_runtime.frameworks.failures import Unservable
from modelyard_runtime.frameworks.files import model_file
from modelyard_runtime.frameworks.named import Field, Named
from modelyard_runtime.frameworks.signature import Served
from modelyard_runtime.http.server import HttpError

EXPORTED = "torch_export"
_LONGEST = 300


def load(model: Model, folder: str) -> Served:
    """Load the program and offer its forward pass as `predict`."""
    path = model_file(model, folder)
    return _exported(path) if model.format == EXPORTED else _scripted(path)


def _exported(path: str) -> Served:
    program = torch.export.load(path)
    given = {
        node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"
    }
    fields = [_field(name, given.get(name)) for name in program.graph_signature.user_inputs]
    if not fields:
        raise Unservable("it takes no input")
    shapes = [field.shape for field in fields]
    return Served(
        {"predict": _call(program.module(), [field.name for field in fields])},
        Named(fields),
        batches=all(shape is not None and shape[0] == -1 for shape in shapes),
    )


def _field(name: str, given: Any) -> Field:
    if not isinstance(given, torch.Tensor):
        raise Unservable(f"its input `{name}` is no tensor")
    if not given.shape:
        raise Unservable(f"its input `{name}` has no dimension for rows")
    shape = tuple(length if type(length) is int else -1 for length in given.shape)
    return Field(name, _numpy_type(given.dtype), shape)


def _numpy_type(dtype: torch.dtype) -> np.dtype[Any]:
    try:
        found: np.dtype[Any] = torch.empty(0, dtype=dtype).numpy().dtype
        return found
    except TypeError:
        raise Unservable(f"it takes numbers of type {dtype}, which clients cannot send") from None


def _scripted(path: str) -> Served:
    with warnings.catch_warnings():
        # Whoever has such a file cannot change it here.
        warnings.filterwarnings("ignore", ".*deprecated", DeprecationWarning)
        program = torch.jit.load(path, map_location="cpu").eval()
    arguments = program.forward.schema.arguments[1:]
    names = [argument.name for argument in arguments if not argument.has_default_value()]
    if not names:
        raise Unservable("it takes no input")
    fields = [Field(name, np.dtype(np.float32), None) for name in names]
    call = _refusing(_call(program, names))
    return Served({"predict": call}, Named(fields), batches=False)


def _call(program: Any, names: Sequence[str]) -> Callable[[dict[str, Array]], Any]:
    def call(rows: dict[str, Array]) -> Any:
        with torch.no_grad():
            found = program(*(torch.from_numpy(_writable(rows[name])) for name in names))
        return _arrays(found)

    return call


def _writable(array: Array) -> Array:
    """The array, or a copy of one that lies in a request: PyTorch takes no other."""
    return array if array.flags.writeable else array.copy()


def _arrays(found: Any) -> Any:
    if isinstance(found, dict):
        return {str(name): value.numpy() for name, value in found.items()}
    if isinstance(found, tuple | list):
        arrays = [value.numpy() for value in found]
        return arrays[0] if len(arrays) == 1 else arrays
    return found.numpy()


def _refusing(call: Callable[[dict[str, Array]], Any]) -> Callable[[dict[str, Array]], Any]:
    """Tells the caller what the program says of rows whose shape nobody could check before."""

    def refusing(rows: dict[str, Array]) -> Any:
        try:
            return call(rows)
        except RuntimeError as error:
            said = str(error).strip().rpartition("\n")[2].removeprefix("RuntimeError: ")
            raise HttpError(
                422, f"The model does not take these rows: {said[:_LONGEST]}"
            ) from error

    return refusing
