"""The floors and the servers people use today, each with its best settings for two cores.

Where a server has batching it is on for one-row requests; where it takes binary tensors, W4 uses
them. What is special to one is said at its entry.
"""

from __future__ import annotations

import json
import subprocess
from typing import Any

from bench.runtime.client import Wire
from bench.runtime.environments import environment
from bench.runtime.servers import PROGRAMS, Kind, Launch, Server
from bench.runtime.workloads import TENSOR_SHAPE, Workload, models_folder

_JSON = {"Content-Type": "application/json"}
_OCTETS = {"Content-Type": "application/octet-stream"}
_WORKERS = "2"


def is_binary(workload: Workload) -> bool:
    """Whether the request is a tensor's bytes."""
    return workload.name == "W4"


def json_wire(path: str, document: Any) -> Wire:
    """A request with a JSON body."""
    return Wire(path, json.dumps(document).encode(), _JSON)


def octets_wire(path: str, workload: Workload) -> Wire:
    """A request with the bytes of the tensor."""
    return Wire(path, workload.tensor, _OCTETS)


def rows_wire(workload: Workload, path: str = "/score") -> Wire:
    """The rows and nothing else, as JSON; the tensor as its bytes."""
    return octets_wire(path, workload) if is_binary(workload) else json_wire(path, workload.rows)


def inference_wire(workload: Workload, *, binary: bool, path: str, datatype: str) -> Wire:
    """Open Inference Protocol v2."""
    if not binary:
        rows = workload.rows
        flat = [number for row in rows for number in row]
        tensor = {"name": "x", "shape": [len(rows), len(rows[0])], "datatype": datatype}
        return json_wire(path, {"inputs": [tensor | {"data": flat}]})
    size = len(workload.tensor)
    tensor = {"name": "x", "shape": list(TENSOR_SHAPE), "datatype": "FP32"}
    head = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": size}}]}).encode()
    headers = {**_OCTETS, "Inference-Header-Content-Length": str(len(head))}
    return Wire(path, head + workload.tensor, headers)


def inference_answer(document: Any) -> Any:
    """The numbers of an Open Inference Protocol answer."""
    return document["outputs"][0]["data"]


def _floor(kind: str) -> Server:
    return Server(
        f"floor, {kind}",
        Kind.FLOOR,
        "floor",
        lambda launch: ["python", str(PROGRAMS / "floor.py"), str(launch.port), kind],
        rows_wire,
        workloads="W1 W2 W3 W4 W5" if kind == "single" else "W1 W2 W3 W5",
    )


def original_wire(workload: Workload) -> Wire:
    """As the original's scripts are asked."""
    if is_binary(workload):
        return octets_wire("/score", workload)
    return json_wire("/score", {"data": workload.rows})


def _azureml(launch: Launch) -> list[str]:
    script = "azureml_mean.py" if is_binary(launch.workload) else "azureml_score.py"
    entry = ["--entry_script", str(PROGRAMS / script), "--port", str(launch.port)]
    return ["azmlinfsrv", *entry, "--worker_count", _WORKERS, "--model_dir", str(launch.folder)]


def _mlserver(launch: Launch) -> list[str]:
    """Batching by its own documentation's setting; no gRPC or metrics port that could clash."""
    name, batches = launch.workload.name, launch.workload.name in ("W1", "W2", "W5")
    settings = {
        "host": "127.0.0.1",
        "http_port": launch.port,
        "grpc_port": 0,
        "metrics_port": 0,
        "metrics_endpoint": None,
        "debug": False,
        # A model in the server's own process, batched, gave twice the requests per second that two
        # of its worker processes gave, for less CPU, in W1 and in W5.
        "parallel_workers": 0,
    }
    files = {"W1": "iris.joblib", "W5": "forest.joblib"}
    kind = "mlserver_sklearn.SKLearnModel" if name in files else "mlserver_onnx.Onnx"
    model: dict[str, Any] = {
        "name": "bench",
        "implementation": "mlserver_onnx.Mean" if name == "W4" else kind,
        "parameters": {"uri": str(models_folder() / files.get(name, "mlp.onnx"))},
    }
    if batches:
        model |= {"max_batch_size": 64, "max_batch_time": 0.002}
    (launch.folder / "settings.json").write_text(json.dumps(settings))
    (launch.folder / "model-settings.json").write_text(json.dumps(model))
    return ["mlserver", "start", str(launch.folder)]


def _mlserver_wire(workload: Workload) -> Wire:
    if is_binary(workload):
        return octets_wire("/mean", workload)
    datatype = "FP32" if workload.name in ("W2", "W3") else "FP64"
    path = "/v2/models/bench/infer"
    return inference_wire(workload, binary=False, path=path, datatype=datatype)


def _bentoml(launch: Launch) -> list[str]:
    where = ["--host", "127.0.0.1", "--port", str(launch.port), "--working-dir", str(PROGRAMS)]
    return ["bentoml", "serve", "bentoml_service:Served", *where]


def _bentoml_wire(workload: Workload) -> Wire:
    if is_binary(workload):
        return octets_wire("/raw/mean", workload)
    return json_wire("/score", {"rows": workload.rows})


def _litserve_wire(workload: Workload) -> Wire:
    if is_binary(workload):
        return octets_wire("/predict", workload)
    return json_wire("/predict", {"rows": workload.rows})


def _kserve_wire(workload: Workload) -> Wire:
    datatype = "FP32" if workload.name in ("W2", "W3") else "FP64"
    path = "/v2/models/bench/infer"
    binary = is_binary(workload)
    return inference_wire(workload, binary=binary, path=path, datatype=datatype)


def _mlflow(launch: Launch) -> list[str]:
    """Its `models serve` starts exactly this, after looking for an environment to make."""
    return [
        *("uvicorn", "--host", "127.0.0.1", "--port", str(launch.port), "--workers", _WORKERS),
        "mlflow.pyfunc.scoring_server.app:app",
    ]


def _mlflow_variables(launch: Launch) -> dict[str, str]:
    """Its model is made before its start, outside of the time of that."""
    home = environment("mlflow")
    model = launch.folder / "model"
    variables = {
        "PATH": str(home / "bin"),
        "HOME": str(launch.folder),
        "PYTHONPATH": str(PROGRAMS),
        "BENCH_WORKLOAD": launch.workload.name,
        "BENCH_MODELS": str(models_folder()),
    }
    command = [str(home / "bin" / "python"), str(PROGRAMS / "mlflow_model.py"), str(model)]
    subprocess.run(command, env=variables, check=True, capture_output=True, cwd=launch.folder)
    return {"__pyfunc_model_path__": str(model)}


def _mlflow_wire(workload: Workload) -> Wire:
    """W4 as Parquet, its only binary input."""
    if is_binary(workload):
        headers = {"Content-Type": "application/vnd.apache.parquet"}
        return Wire("/invocations", (models_folder() / "W4.parquet").read_bytes(), headers)
    return json_wire("/invocations", {"inputs": workload.rows})


def _ray_variables(launch: Launch) -> dict[str, str]:
    """What its documentation advises for throughput."""
    return {
        "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
        "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
        "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1000",
        "RAY_SERVE_LOG_TO_STDERR": "0",
    }


def _fastapi(launch: Launch) -> list[str]:
    where = ["--host", "127.0.0.1", "--port", str(launch.port), "--workers", _WORKERS]
    speed = ["--loop", "uvloop", "--http", "httptools", "--no-access-log"]
    return ["uvicorn", "fastapi_app:app", *where, *speed]


def _fastapi_wire(workload: Workload) -> Wire:
    return rows_wire(workload, "/mean" if is_binary(workload) else "/score")


def _program(name: str) -> Any:
    return lambda launch: ["python", str(PROGRAMS / name), str(launch.port)]


def _result(document: Any) -> Any:
    return document["result"]


SINGLE, BATCHED = FLOORS = _floor("single"), _floor("batched")
AZUREML = Server("azureml-inference-server-http", Kind.PRODUCT, "azureml", _azureml, original_wire)
PEERS = (
    AZUREML,
    Server(
        "MLServer",
        Kind.PRODUCT,
        "mlserver",
        _mlserver,
        _mlserver_wire,
        lambda document: document if isinstance(document, list) else inference_answer(document),
    ),
    Server("BentoML", Kind.PRODUCT, "bentoml", _bentoml, _bentoml_wire),
    Server(
        "LitServe",
        Kind.PRODUCT,
        "litserve",
        _program("litserve_server.py"),
        _litserve_wire,
        _result,
    ),
    Server(
        "KServe",
        Kind.PRODUCT,
        "kserve",
        _program("kserve_server.py"),
        _kserve_wire,
        inference_answer,
    ),
    Server(
        "MLflow",
        Kind.PRODUCT,
        "mlflow",
        _mlflow,
        _mlflow_wire,
        lambda document: document["predictions"],
        variables=_mlflow_variables,
    ),
    Server(
        "Ray Serve",
        Kind.PRODUCT,
        "ray",
        _program("ray_app.py"),
        rows_wire,
        variables=_ray_variables,
    ),
    Server("FastAPI, uvicorn", Kind.HAND, "fastapi", _fastapi, _fastapi_wire),
)
