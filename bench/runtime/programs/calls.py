"""The model call of each workload, the same in the floors and in every server that asks for one.

`BENCH_WORKLOAD` and `BENCH_MODELS` say which; servers import this module where they load a model.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

WORKLOAD = os.environ["BENCH_WORKLOAD"]
MODELS = os.environ["BENCH_MODELS"]

Call = Callable[[Any], np.ndarray]


def load() -> Call:
    """The function that takes rows (W4: the bytes of the tensor) and returns the answers."""
    return _LOADERS[WORKLOAD]()


def _load_sklearn(file: str) -> Call:
    import joblib

    model = joblib.load(os.path.join(MODELS, file))
    return lambda rows: model.predict(np.asarray(rows, dtype=np.float64))


def _load_onnx() -> Call:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    path = os.path.join(MODELS, "mlp.onnx")
    run = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"]).run
    return lambda rows: run(None, {"x": np.asarray(rows, dtype=np.float32)})[0]


def _mean(body: bytes) -> np.ndarray:
    return np.frombuffer(body, "<f4").mean()


_LOADERS: dict[str, Callable[[], Call]] = {
    "W1": lambda: _load_sklearn("iris.joblib"),
    "W2": _load_onnx,
    "W3": _load_onnx,
    "W4": lambda: _mean,
    "W5": lambda: _load_sklearn("forest.joblib"),
}
