"""Our runtime as an image is started: keys, schema and metrics on, the floor's package versions."""

from __future__ import annotations

import compileall
import json
import os
import secrets
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.runtime.client import Wire
from bench.runtime.environments import cache, packages
from bench.runtime.peers import (
    inference_answer,
    inference_wire,
    is_binary,
    json_wire,
    original_wire,
)
from bench.runtime.servers import PROGRAMS, Kind, Launch, Server
from bench.runtime.workloads import Workload, models_folder
from modelyard_runtime import __file__ as runtime_file
from modelyard_runtime.auth import ServiceKey

WORKERS = 2
KEY = ServiceKey(secrets.token_hex(8), secrets.token_hex(24))
_FILES = {
    "W1": ("iris.joblib", "joblib", "scikit-learn"),
    "W2": ("mlp.onnx", "onnx", "onnx"),
    "W3": ("mlp.onnx", "onnx", "onnx"),
    "W5": ("forest.joblib", "joblib", "scikit-learn"),
}


def runtime_tree() -> Path:
    """A byte-compiled copy of the runtime, as images have one; made anew in every run."""
    tree = cache() / "runtime"
    if tree not in _MADE:
        shutil.rmtree(tree, ignore_errors=True)
        source = Path(runtime_file).parent
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, tree / "modelyard_runtime", ignore=ignored)
        compileall.compile_dir(tree, quiet=1)
        _MADE.add(tree)
    return tree


_MADE: set[Path] = set()


def _command(choose: Callable[[Launch], dict[str, Any]]) -> Callable[[Launch], list[str]]:
    """The product's own command, with a configuration in the launch's folder."""

    def command(launch: Launch) -> list[str]:
        config = launch.folder / "replica.json"
        document = {
            "workers": WORKERS,
            "code": str(PROGRAMS),
            "models_root": str(launch.folder / "models"),
            "status": str(launch.folder / "status.json"),
            "service": "bench",
            "scoring_timeout": 60.0,
            "max_body": 100 << 20,
            "drain_timeout": 2.0,
            "keys": [{"id": KEY.id, "hash": KEY.hash}],
            **choose(launch),
        }
        config.write_text(json.dumps(document))
        python = getattr(sys, "_base_executable", sys.executable)
        flags = ["-s", "-S", "-P", "-m", "modelyard_runtime"]
        return [python, *flags, "--config", str(config)]

    return command


def _without_script(launch: Launch) -> dict[str, Any]:
    if is_binary(launch.workload):
        return {"script": "modelyard_mean.py", "models": []}
    return _model(launch, *_FILES[launch.workload.name])


def _converted(launch: Launch) -> dict[str, Any]:
    return _model(launch, "forest.onnx", "onnx", "onnx")


def _model(launch: Launch, file: str, kind: str, framework: str) -> dict[str, Any]:
    folder = launch.folder / "models" / "bench" / "1"
    folder.mkdir(parents=True)
    shutil.copy(models_folder() / file, folder)
    model = {"name": "bench", "version": "1", "path": "bench/1"}
    return {
        "script": None,
        "models": [{**model, "format": kind, "framework": framework}],
        "sample": launch.workload.rows,
    }


def _with_original_script(launch: Launch) -> dict[str, Any]:
    return {"script": "azureml_score.py", "models": []}


def _variables(launch: Launch) -> dict[str, str]:
    search = (runtime_tree(), packages("floor"))
    return {"PYTHONPATH": os.pathsep.join(map(str, search)), "PYTHONDONTWRITEBYTECODE": "1"}


def _with_key(wire: Wire) -> Wire:
    return Wire(wire.path, wire.body, {**wire.headers, "Authorization": f"Bearer {KEY.text}"})


def _wire(workload: Workload) -> Wire:
    if is_binary(workload):
        path = "/v2/models/bench/infer"
        return _with_key(inference_wire(workload, binary=True, path=path, datatype="FP32"))
    return _with_key(json_wire("/score", workload.rows))


def _original_wire(workload: Workload) -> Wire:
    return _with_key(original_wire(workload))


def _answer(document: Any) -> Any:
    return document if isinstance(document, list) else inference_answer(document)


def _server(name: str, **settings: Any) -> Server:
    choose, wire = settings.pop("choose"), settings.pop("wire")
    return Server(
        name,
        Kind.OURS,
        "floor",
        _command(choose),
        wire,
        _answer,
        variables=_variables,
        inherits_listener=True,
        **settings,
    )


MODELYARD = _server("Modelyard", choose=_without_script, wire=_wire)
SCRIPTED = _server(
    "Modelyard, the original's script",
    choose=_with_original_script,
    wire=_original_wire,
    workloads="W1 W2",
)
OPTIMISED = _server("Modelyard, optimised", choose=_converted, wire=_wire, workloads="W5")
OURS = (MODELYARD, SCRIPTED, OPTIMISED)
