"""Our runtime as an image is started: keys, schema and metrics on, the floor's package versions."""

from __future__ import annotations

import compileall
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.runtime.client import Wire
from bench.runtime.environments import Unavailable, cache, packages
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


_COMMON = {
    "workers": WORKERS,
    "code": str(PROGRAMS),
    "service": "bench",
    "scoring_timeout": 60.0,
    "max_body": 100 << 20,
    "drain_timeout": 2.0,
    "keys": [{"id": KEY.id, "hash": KEY.hash}],
}


def _places(launch: Launch) -> dict[str, str]:
    folder = launch.folder
    return {"models_root": str(folder / "models"), "status": str(folder / "status.json")}


def _python() -> list[str]:
    """The interpreter as the product starts it, up to the module's name."""
    return [getattr(sys, "_base_executable", sys.executable), "-s", "-S", "-P", "-m"]


def _command(choose: Callable[[Launch], dict[str, Any]]) -> Callable[[Launch], list[str]]:
    """The product's own command, with a configuration in the launch's folder."""

    def command(launch: Launch) -> list[str]:
        config = launch.folder / "replica.json"
        config.write_text(json.dumps(_COMMON | _places(launch) | choose(launch)))
        return [*_python(), "modelyard_runtime", "--config", str(config)]

    return command


def _without_script(launch: Launch) -> dict[str, Any]:
    if is_binary(launch.workload):
        return {"script": "modelyard_mean.py", "models": []}
    return _model(launch, *_FILES[launch.workload.name])


def _converted(launch: Launch) -> dict[str, Any]:
    """As `image build --optimize` leaves it: the search is the build's, before any start."""
    document = _without_script(launch)
    folder = launch.folder / "models" / "bench" / "1"
    for file in _optimize(launch, document):
        shutil.copy(file, folder)
    (folder / _FILES[launch.workload.name][0]).unlink()
    document["models"][0]["optimized"] = True
    return document


def _optimize(launch: Launch, document: dict[str, Any]) -> list[Path]:
    """Look for a faster form of the model with the product's own search."""
    out = launch.folder / "out"
    out.mkdir()
    status = launch.folder / "search.json"
    config = launch.folder / "search-config.json"
    settings = {"fd": 0, "status": str(status), "out": str(out), "cores": os.cpu_count()}
    config.write_text(json.dumps(_COMMON | _places(launch) | document | settings))
    program = [*_python(), "modelyard_runtime.optimizing", "--config", str(config)]
    variables = {**_variables(launch), "HOME": str(launch.folder), "PATH": os.defpath}
    search = subprocess.Popen(program, env=variables, cwd=launch.folder, stdin=subprocess.DEVNULL)
    try:
        while search.poll() is None and not _is_over(status):
            time.sleep(0.1)
    finally:
        search.kill()
        search.wait()
    files = [out / "model.onnx", out / "interface.json"]
    if not all(file.exists() for file in files):
        raise Unavailable("the search found no faster form")
    return files


def _is_over(status: Path) -> bool:
    return status.exists() and json.loads(status.read_bytes()).get("phase") in ("ready", "failed")


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
