"""ONNX models, scored by onnxruntime."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime as ort

from modelyard_runtime.arrays import datatype_of
from modelyard_runtime.config import Model
from modelyard_runtime.frameworks.answers import Array
from modelyard_runtime.frameworks.failures import Unservable
from modelyard_runtime.frameworks.files import model_file
from modelyard_runtime.frameworks.named import Field, Named
from modelyard_runtime.frameworks.signature import Served
from modelyard_runtime.tensors import TensorSpec

Inputs = dict[str, Array]

_DTYPES = {
    "tensor(float)": "f4",
    "tensor(double)": "f8",
    "tensor(float16)": "f2",
    "tensor(int64)": "i8",
    "tensor(int32)": "i4",
    "tensor(int16)": "i2",
    "tensor(int8)": "i1",
    "tensor(uint64)": "u8",
    "tensor(uint32)": "u4",
    "tensor(uint16)": "u2",
    "tensor(uint8)": "u1",
    "tensor(bool)": "?",
    "tensor(string)": "U",
}
_LABELS = ("tensor(int64)", "tensor(string)")
_PROBABILITIES = ("tensor(float)", "tensor(double)")
_MAPS = "seq(map("


def load(model: Model, folder: str) -> Served:
    """Open the model and offer its outputs as `predict`, with `predict_proba` for a classifier."""
    return serve(model_file(model, folder))


def serve(path: str) -> Served:
    """Serve a file, whatever its name."""
    session = open_session(path)
    fields = [_field(given) for given in session.get_inputs()]
    outputs = session.get_outputs()
    first = outputs[:1] if _is_classifier(outputs) else outputs
    specs = [_spec(output) for output in first]
    return Served(
        _methods(session),
        Named(fields),
        tuple(spec for spec in specs if spec is not None) if all(specs) else (),
        batches=all(
            given.shape[:1] and not _is_fixed(given.shape[0]) for given in _tensors(session)
        ),
    )


def open_session(path: str, threads: int | None = None) -> ort.InferenceSession:
    """A session on a model.

    Args:
        path: Of the model's file.
        threads: That compute one call; unset takes those of the replica. One alone leaves no thread
            behind, so that the loaded process can be forked into workers.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or threads_of_replica()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # A thread that spins while it waits takes the processor from other workers.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def threads_of_replica() -> int:
    """How many threads one call may use: what the replica tells numerical libraries."""
    text = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, int(text)) if text.isdigit() else 1


def _methods(session: ort.InferenceSession) -> dict[str, Callable[[Inputs], Any]]:
    outputs = session.get_outputs()
    names = [output.name for output in outputs]

    def run(wanted: list[str]) -> Callable[[Inputs], Any]:
        return lambda rows: dict(zip(wanted, session.run(wanted, rows), strict=True))

    if not _is_classifier(outputs):
        return {"predict": run(names)}
    label, scores = names
    maps = outputs[1].type.startswith(_MAPS)

    def probabilities(rows: Inputs) -> Array:
        found = session.run([scores], rows)[0]
        return _from_maps(found) if maps else found

    return {"predict": run([label]), "predict_proba": probabilities}


def _is_classifier(outputs: list[Any]) -> bool:
    """As converters write a classifier: a label for each row, then a score for each class."""
    if len(outputs) != 2 or outputs[0].type not in _LABELS:
        return False
    scores = outputs[1]
    if scores.type.startswith(_MAPS):
        return True
    return scores.type in _PROBABILITIES and "prob" in scores.name and len(scores.shape) == 2


def _from_maps(rows: list[dict[Any, float]]) -> Array:
    """Probabilities by class, as an array whose columns are the classes in their order."""
    return np.array([list(row.values()) for row in rows], dtype=np.float32)


def _tensors(session: ort.InferenceSession) -> list[Any]:
    """Inputs and outputs, but for the lists of maps, which are as long as there are rows."""
    given = [*session.get_inputs(), *session.get_outputs()]
    return [one for one in given if one.type in _DTYPES]


def _field(given: Any) -> Field:
    if given.type not in _DTYPES:
        raise Unservable(f"its input `{given.name}` is of type {given.type}")
    if not given.shape:
        raise Unservable(f"its input `{given.name}` has no dimension for rows")
    return Field(given.name, np.dtype(_DTYPES[given.type]), _shape(given))


def _spec(output: Any) -> TensorSpec | None:
    if output.type not in _DTYPES:
        return None
    return TensorSpec(output.name, datatype_of(np.dtype(_DTYPES[output.type])), _shape(output))


def _shape(given: Any) -> tuple[int, ...]:
    return tuple(length if _is_fixed(length) else -1 for length in given.shape)


def _is_fixed(length: Any) -> bool:
    return isinstance(length, int) and length > 0
