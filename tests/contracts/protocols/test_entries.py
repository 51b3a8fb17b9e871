"""Every protocol over every kind of entry: the same question, the same answer."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression
from tests.contracts.protocols.entries import BY_COLUMN, SCRIPTS
from tritonclient.grpc import service_pb2 as public

from modelyard_runtime.config import Config, Model
from modelyard_runtime.entry import Entry
from modelyard_runtime.grpc_server import GrpcInference
from modelyard_runtime.http.server import Headers, Request, Response
from modelyard_runtime.loading import load
from modelyard_runtime.protocols.base import Protocol
from modelyard_runtime.protocols.infer import ServedModel
from modelyard_runtime.protocols.inference import InferenceProtocol
from modelyard_runtime.protocols.mlflow import MlflowProtocol
from modelyard_runtime.scoring import Call, Scorer, asking

ROWS = np.array([[1.5, 2.0], [3.0, 4.0], [-5.0, 6.0]])
SUMS = [3.5, 7.0, 1.0]
MODEL = ServedModel("iris", (), "", (), ())

Ask = Callable[[Entry, dict[str, np.ndarray]], list[float]]


def send(entry: Entry, protocol: Protocol, body: bytes, *fields: tuple[bytes, bytes]) -> Response:
    request = Request("POST", "/", "", Headers(list(fields)), body)
    call = Call(Scorer(entry, lambda cause: None), request, asking(request.head, protocol))
    response = asyncio.run(call.execute_async()) if entry.is_async else call.execute()
    assert response.status == 200, response.body
    return response


def infer_json(entry: Entry, tensors: dict[str, np.ndarray]) -> list[float]:
    inputs = [
        {"name": name, "datatype": "FP64", "shape": array.shape, "data": array.tolist()}
        for name, array in tensors.items()
    ]
    protocol = InferenceProtocol(entry.signature, MODEL.answering())
    response = send(entry, protocol, orjson.dumps({"inputs": inputs}))
    (output,) = orjson.loads(response.body)["outputs"]
    return list(np.ravel(output["data"]))


def infer_binary(entry: Entry, tensors: dict[str, np.ndarray]) -> list[float]:
    inputs = [
        {
            "name": name,
            "datatype": "FP64",
            "shape": array.shape,
            "parameters": {"binary_data_size": array.nbytes},
        }
        for name, array in tensors.items()
    ]
    head = orjson.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}})
    body = b"".join([head, *(array.tobytes() for array in tensors.values())])
    protocol = InferenceProtocol(entry.signature, MODEL.answering())
    length = (b"inference-header-content-length", b"%d" % len(head))
    response = send(entry, protocol, body, length)
    at = int(dict(response.headers)[b"inference-header-content-length"])
    return list(np.frombuffer(response.body[at:], np.float64))


def infer_grpc(entry: Entry, tensors: dict[str, np.ndarray]) -> list[float]:
    message = public.ModelInferRequest(model_name="iris")
    for name, array in tensors.items():
        message.inputs.add(name=name, datatype="FP64", shape=array.shape)
        message.raw_input_contents.append(array.tobytes())
    protocol = GrpcInference(entry.signature, MODEL)
    response = send(entry, protocol, message.SerializeToString())
    answer = public.ModelInferResponse.FromString(response.body)
    return list(np.frombuffer(answer.raw_output_contents[0], np.float64))


def mlflow(entry: Entry, kind: bytes, body: bytes) -> list[float]:
    protocol = MlflowProtocol(entry.signature)
    response = send(entry, protocol, body, (b"content-type", kind))
    return list(np.ravel(orjson.loads(response.body)["predictions"]))


def mlflow_split(entry: Entry, tensors: dict[str, np.ndarray]) -> list[float]:
    split = {"columns": ["a", "b"], "data": ROWS.tolist()}
    return mlflow(entry, b"application/json", orjson.dumps({"dataframe_split": split}))


def mlflow_csv(entry: Entry, tensors: dict[str, np.ndarray]) -> list[float]:
    lines = [f"{a},{b}" for a, b in ROWS.tolist()]
    return mlflow(entry, b"text/csv", "\n".join(["a,b", *lines]).encode())


PROTOCOLS = [infer_json, infer_binary, infer_grpc, mlflow_split, mlflow_csv]


@pytest.mark.parametrize("ask", PROTOCOLS)
@pytest.mark.parametrize("kind", SCRIPTS)
def test_a_script_is_asked_in_every_protocol(
    kind: str, ask: Ask, load_script: Callable[[str], Entry]
) -> None:
    columns = {"a": ROWS[:, 0].copy(), "b": ROWS[:, 1].copy()}
    tensors = columns if kind in BY_COLUMN else {"x": ROWS}
    assert ask(load_script(SCRIPTS[kind]), tensors) == SUMS


@pytest.mark.parametrize("ask", PROTOCOLS)
def test_a_model_without_a_script_is_asked_in_every_protocol(
    ask: Ask, configure: Callable[..., Config], tmp_path: Path
) -> None:
    config = configure()
    known = pd.DataFrame([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], columns=["a", "b"])
    model = LinearRegression().fit(known, known["a"] + known["b"])
    path = tmp_path / "models" / "iris" / "3"
    (path / "weights.txt").unlink()
    (path / "model.pkl").write_bytes(pickle.dumps(model))
    fields: dict[str, Any] = {name: getattr(config, name) for name in Config.__dataclass_fields__}
    fields["models"] = (Model("iris", "3", str(path), "pickle", "scikit-learn"),)
    fields["script"] = None
    entry = load(Config(**fields), lambda phase: None)
    tensors = {spec.name: ROWS for spec in entry.signature.inputs}
    assert ask(entry, tensors) == pytest.approx(SUMS)
