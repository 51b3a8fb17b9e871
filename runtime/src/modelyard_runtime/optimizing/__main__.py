"""`python -m modelyard_runtime.optimizing --config <file>`: one search, and what came of it.

The configuration is a replica's, with `sample` and two keys more: `out`, an empty folder for
`report.json` and the files of the form that is kept, and `cores`. When all is written the status
says `ready`, and the process waits for its end: whoever started it watches it like a replica.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from importlib import import_module
from typing import Any

import msgspec
import numpy as np
import orjson

from modelyard_runtime.causes import Scene, StartFailed
from modelyard_runtime.config import Config, Model, parse_config
from modelyard_runtime.frameworks import failures, pickles
from modelyard_runtime.frameworks.answers import Array
from modelyard_runtime.frameworks.files import model_file
from modelyard_runtime.frameworks.matrix import Matrix
from modelyard_runtime.frameworks.optimized import GRAPH, INTERFACE
from modelyard_runtime.frameworks.signature import Served
from modelyard_runtime.http.server import HttpError
from modelyard_runtime.optimizing.search import Found, search
from modelyard_runtime.status import READY, StatusFile

REPORT = "report.json"


def main(path: str) -> int:
    """Search as a configuration file says. Returns the exit status."""
    with open(path, "rb") as file:
        values = orjson.loads(file.read())
    config = parse_config(values)
    status = StatusFile(config.status, os.getpid())
    for fd in config.sockets:
        os.set_inheritable(fd, False)
    model = config.models[0]
    try:
        loaded = _load(model, os.path.join(config.models_root, model.path))
        served = pickles.served(loaded)
    except BaseException as error:  # also SystemExit: a pickle may do anything
        traceback.print_exc()
        status.fail(_cause(error, config, model))
        return 1
    found = search(loaded, served, _rows(served, config.sample), values["cores"])
    _write(values["out"], found)
    status.update(phase=READY)
    while True:
        signal.pause()


def _load(model: Model, folder: str) -> Any:
    """The object itself: what converters take."""
    path = model_file(model, folder)
    if model.format == "lightgbm":
        return import_module("lightgbm").Booster(model_file=path)
    if model.format == "xgboost":
        booster = import_module("xgboost").Booster()
        booster.load_model(path)
        return booster
    return pickles.read(path, model.format)


def _cause(error: BaseException, config: Config, model: Model) -> Any:
    if isinstance(error, StartFailed):
        return error.cause
    scene = Scene(config.code, "", config.models_root)
    return failures.not_loaded(error, model, scene)


def _rows(served: Served, sample: Any) -> Array | None:
    """The rows of a scoring request; None when it holds none that the model takes."""
    document = sample.get("data") if isinstance(sample, dict) else sample
    if not isinstance(served.inputs, Matrix) or not isinstance(document, list) or not document:
        return None
    try:
        return np.asarray(served.inputs.from_rows(document))
    except HttpError:
        return None


def _write(folder: str, found: Found) -> None:
    files = {REPORT: msgspec.json.encode(found.report)}
    if found.interface is not None:
        files |= {GRAPH: found.graph, INTERFACE: msgspec.json.encode(found.interface)}
    for name, content in files.items():
        with open(os.path.join(folder, name), "wb") as file:
            file.write(content)


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] != "--config":
        sys.exit("usage: python -m modelyard_runtime.optimizing --config <file>")
    sys.exit(main(sys.argv[2]))
