"""Models that a build converted to ONNX: asked and answering as before, scored by onnxruntime.

`modelyard_runtime.optimizing` writes what is read here: the graph, and beside it the interface of
the model that it was made of.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import onnxruntime as ort

from modelyard_runtime.config import Model
from modelyard_runtime.frameworks.answers import Array
from modelyard_runtime.frameworks.matrix import Matrix
from modelyard_runtime.frameworks.onnx import open_session
from modelyard_runtime.frameworks.signature import Served
from modelyard_runtime.signature import JsonSchema
from modelyard_runtime.tensors import TensorSpec

GRAPH, INTERFACE = "model.onnx", "interface.json"
"""The files in the model's folder."""

_VOTE_DIGITS = 6
"""Of probabilities that are sums of votes: what is beyond is the order of adding."""

Answers = dict[str, Array]
"""The graph's outputs by name."""


class Method(msgspec.Struct, frozen=True):
    """How a method of the model comes out of the graph."""

    output: str
    """Name of the graph's output."""
    shape: str
    """A key of `SHAPES`."""
    dtype: str
    """Type of what the model itself returned."""
    classes: list[Any] | None = None
    """To choose the most probable one from, where the output is probabilities; of several that are
    equally probable the first, whatever order their votes were added in."""


class Interface(msgspec.Struct, frozen=True):
    """What the model was like before it was converted, and how the graph is to be run."""

    input: str
    """Name of the graph's input."""
    dtype: str
    """Type of the graph's input."""
    width: int
    names: list[str] | None
    row_dtype: str
    """Type of the rows as the model itself took them."""
    takes_missing: bool
    methods: dict[str, Method]
    outputs: list[TensorSpec]
    output_schema: JsonSchema | None
    threads: int | None
    """That compute one call; None: as many as the replica has."""
    batches: bool
    """Scoring several requests in one call is faster."""

    def rows(self) -> Matrix:
        """The rows that the model took."""
        return Matrix(
            self.width,
            self.names,
            dtype=np.dtype(self.row_dtype),
            takes_missing=self.takes_missing,
        )


def _choice(classes: list[Any]) -> Callable[[Array], Array]:
    names = np.array(classes)
    return lambda found: names[np.round(found, _VOTE_DIGITS).argmax(axis=1)]


def _second(found: Array) -> Array:
    return np.ascontiguousarray(found[:, 1])


SHAPES: dict[str, Callable[[Array], Array]] = {
    "rows": lambda found: found,
    "flat": np.ravel,
    "second": _second,
}
"""What is done to an output of the graph: nothing, one value a row, or the probability of the
second of two classes."""


def load(model: Model, folder: str) -> Served:
    """Open the graph and offer the methods of the model that it was made of."""
    with open(os.path.join(folder, INTERFACE), "rb") as file:
        interface = msgspec.json.decode(file.read(), type=Interface)
    session = open_session(os.path.join(folder, GRAPH), interface.threads)
    return Served(
        methods(session, interface),
        interface.rows(),
        tuple(interface.outputs),
        interface.output_schema,
        batches=interface.batches,
    )


def methods(
    session: ort.InferenceSession, interface: Interface
) -> dict[str, Callable[[Array], Array]]:
    """The methods, computed by a graph."""
    return {name: _method(session, interface, method) for name, method in interface.methods.items()}


def _method(
    session: ort.InferenceSession, interface: Interface, method: Method
) -> Callable[[Array], Array]:
    wanted, given, taken = [method.output], interface.input, np.dtype(interface.dtype)
    dtype = np.dtype(method.dtype)
    shape = SHAPES[method.shape] if method.classes is None else _choice(method.classes)

    def call(rows: Array) -> Any:
        found = session.run(wanted, {given: rows.astype(taken, copy=False)})[0]
        return shape(found).astype(dtype, copy=False)

    return call
