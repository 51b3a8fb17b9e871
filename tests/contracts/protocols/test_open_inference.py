"""Answers of the Open Inference Protocol have the fields and types that its OpenAPI document says.

The types below say what its version 2.0 does: which fields there are, which of them must be there,
and of what type they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import orjson
import pytest
from tests.contracts.protocols.inline import routes_of

from modelyard_runtime.entry import Entry
from modelyard_runtime.http.server import Headers, Request, Response
from modelyard_runtime.protocols import inference

Data = list[msgspec.Raw]


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    pass


class Server(Strict):
    name: str
    version: str
    extensions: list[str]


class TensorMetadata(Strict):
    name: str
    datatype: str
    shape: list[int]


class Model(Strict):
    name: str
    platform: str
    versions: list[str] = []
    inputs: list[TensorMetadata] = []
    outputs: list[TensorMetadata] = []


class Output(Strict):
    name: str
    shape: list[int]
    datatype: str
    data: Data
    parameters: dict[str, Any] = {}


class Answer(Strict):
    model_name: str
    outputs: list[Output]
    model_version: str = ""
    id: str = ""
    parameters: dict[str, Any] = {}


class Error(Strict):
    error: str


class Live(Strict):
    live: bool


class Ready(Strict):
    ready: bool


class ModelReady(Strict):
    name: str
    ready: bool


SCRIPT = """
def run(x: list[list[float]]) -> list[float]:
    return [float("nan") if sum(row) < 0 else sum(row) for row in x]
"""
X = {"name": "x", "datatype": "FP64", "shape": [2, 2], "data": [1, 2, 3, 4]}


class Asked:
    def __init__(self, entry: Entry, config: Any) -> None:
        self.unready = ""
        surface = inference.routes(entry, config, lambda: self.unready)
        self._routes = routes_of(entry, config, [surface], lambda: self.unready)

    def ask(self, method: str, path: str, body: Any = None) -> Response:
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        response = self._routes(Request(method, path, "", Headers([]), data))
        assert isinstance(response, Response)
        assert response.headers[0] == (b"content-type", b"application/json")
        return response

    def read(self, kind: type, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        response = self.ask(method, path, body)
        assert response.status == status, response.body
        assert isinstance(response.body, bytes)
        return msgspec.json.decode(response.body, type=kind)


@pytest.fixture
def asked(load_script: Callable[[str], Entry], configure: Callable[..., Any]) -> Asked:
    return Asked(load_script(SCRIPT), configure())


@pytest.mark.parametrize("path", ["/v2", "/v2/"])
def test_server_metadata(asked: Asked, path: str) -> None:
    server = asked.read(Server, "GET", path)
    assert (server.name, server.extensions) == ("modelyard", ["binary_tensor_data"])


def test_model_metadata(asked: Asked) -> None:
    model = asked.read(Model, "GET", "/v2/models/flowers")
    assert model.name == "flowers"
    assert model.inputs == [TensorMetadata("x", "FP64", [-1, -1])]
    assert model.outputs == [TensorMetadata("output", "FP64", [-1])]


def test_health(asked: Asked) -> None:
    assert asked.read(Live, "GET", "/v2/health/live").live
    assert asked.read(Ready, "GET", "/v2/health/ready").ready
    assert asked.read(ModelReady, "GET", "/v2/models/flowers/ready").ready


def test_health_while_not_ready(asked: Asked) -> None:
    asked.unready = "1 of 2 workers have loaded the model."
    assert asked.read(Live, "GET", "/v2/health/live").live
    for path in ("/v2/health/ready", "/v2/models/flowers/ready"):
        assert asked.read(Error, "GET", path, status=503).error == asked.unready


def test_an_answer(asked: Asked) -> None:
    answer = asked.read(Answer, "POST", "/v2/models/flowers/infer", {"id": "1", "inputs": [X]})
    assert (answer.model_name, answer.id) == ("flowers", "1")
    (output,) = answer.outputs
    assert (output.name, output.datatype, output.shape) == ("output", "FP64", [2])
    assert [bytes(value) for value in output.data] == [b"3.0", b"7.0"]


def test_nan_is_null_in_an_answer(asked: Asked) -> None:
    given = {"inputs": [X | {"data": [[-1, 0], [1, 0]]}]}
    answer = asked.read(Answer, "POST", "/v2/models/flowers/infer", given)
    assert [bytes(value) for value in answer.outputs[0].data] == [b"null", b"1.0"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/models/rose", 404),
        ("GET", "/v2/models/flowers/versions/9", 404),
        ("POST", "/v2/models/rose/infer", 404),
        ("POST", "/v2/models/flowers/versions/9/infer", 404),
        ("GET", "/v2/models", 404),
        ("POST", "/v2/repository/index", 404),
        ("GET", "/v2/models/flowers/infer", 405),
        ("POST", "/v2/models/flowers", 405),
        ("DELETE", "/v2/health/live", 405),
        ("POST", "/v2/models/flowers/infer", 400),
    ],
)
def test_errors(asked: Asked, method: str, path: str, status: int) -> None:
    assert asked.read(Error, method, path, {}, status).error


def test_an_unknown_model_is_told_which_there_is(asked: Asked) -> None:
    assert "`flowers`" in asked.read(Error, "POST", "/v2/models/rose/infer", {}, 404).error


def test_what_the_script_cannot_take_names_the_field(asked: Asked) -> None:
    given = {"inputs": [X | {"datatype": "BYTES", "data": ["a", "b", "c", "d"]}]}
    error = asked.read(Error, "POST", "/v2/models/flowers/infer", given, 400).error
    assert "x" in error


def test_an_unknown_output_is_refused_before_the_script_runs(asked: Asked) -> None:
    given = {"inputs": [X], "outputs": [{"name": "y"}]}
    response = asked.ask("POST", "/v2/models/flowers/infer", given)
    assert response.status == 400
    assert b"x-ms-run-fn-exec-ms" not in dict(response.headers)
    assert b"`y`" in bytes(response.body)


@pytest.mark.parametrize("versions", [("1",), ("1", "2")])
def test_versions(
    versions: tuple[str, ...],
    load_script: Callable[[str], Entry],
    configure: Callable[..., Any],
) -> None:
    entry = load_script(SCRIPT)
    named = Entry(
        entry.run, entry.signature, entry.scene, model_name="iris", model_versions=versions
    )
    asked = Asked(named, configure())
    assert asked.read(Model, "GET", "/v2/models/iris/versions/1").versions == list(versions)
    for version in versions:
        path = f"/v2/models/iris/versions/{version}/infer"
        assert asked.read(Answer, "POST", path, {"inputs": [X]}).model_version == version
    latest = asked.read(Answer, "POST", "/v2/models/iris/infer", {"inputs": [X]})
    assert latest.model_version == versions[-1]
