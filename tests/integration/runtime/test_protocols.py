"""The Open Inference Protocol as its clients speak it: Triton's, over HTTP and gRPC."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from google.protobuf.json_format import MessageToJson
from tests.integration.runtime.serving_protocols import Serving, serving
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from modelyard_runtime.auth import ServiceKey
from modelyard_runtime.causes import Scene
from modelyard_runtime.entry import Entry
from modelyard_runtime.signatures.answers import AnySignature
from modelyard_runtime.tensors import Tensor, TensorSpec

KEY = ServiceKey("a" * 16, "b" * 43)
BEARER = {"authorization": f"Bearer {KEY.text}"}


class Echoed(AnySignature):
    """Gives back the tensors that came, `x` as `x_out`."""

    inputs = (TensorSpec("x", "FP32", (-1, 2)),)
    input_schema = output_schema = {}

    def from_request(self, request: Any) -> Any:
        raise AssertionError

    def from_table(self, table: Any, parameters: Any) -> Any:
        raise AssertionError

    def from_tensors(self, tensors: Any, parameters: Any) -> Any:
        return {"tensors": tensors, "parameters": parameters}

    def to_tensors(self, result: Any) -> Any:
        return [Tensor(f"{t.name}_out", t.datatype, t.shape, t.data) for t in result]


def echo(tensors: list[Tensor], parameters: dict[str, Any]) -> list[Tensor]:
    if parameters.get("fail"):
        raise RuntimeError("secret")
    return tensors


def entry() -> Entry:
    scene = Scene("/code", "score.py", "/models")
    return Entry(echo, Echoed(), scene, model_name="iris", model_versions=("3",))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(entry(), tmp_path_factory.mktemp("served"), max_body=4 << 20) as running:
        yield running


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(entry(), tmp_path_factory.mktemp("served"), {KEY.id: KEY.hash}) as running:
        yield running


@pytest.fixture(params=[triton_http, triton_grpc], ids=["http", "grpc"])
def triton(request: pytest.FixtureRequest) -> Any:
    return request.param


def connected(triton: Any, served: Serving) -> Any:
    address = served.http if triton is triton_http else served.grpc
    return triton.InferenceServerClient(address)


@pytest.fixture
def client(triton: Any, served: Serving) -> Iterator[Any]:
    client = connected(triton, served)
    yield client
    client.close()


def given(triton: Any, array: np.ndarray, name: str = "x") -> Any:
    tensor = triton.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    tensor.set_data_from_numpy(array)
    return tensor


def plain(answer: Any) -> Any:
    """An answer of either client as a dictionary."""
    return answer if isinstance(answer, dict) else json.loads(triton_json(answer))


def triton_json(message: Any) -> str:
    return str(MessageToJson(message, preserving_proto_field_name=True))


def test_health_and_metadata(client: Any, served: Serving) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("iris")
    assert client.is_model_ready("iris", "3")
    server = plain(client.get_server_metadata())
    assert (server["name"], server["extensions"]) == ("modelyard", ["binary_tensor_data"])
    model = plain(client.get_model_metadata("iris"))
    assert (model["name"], model["versions"]) == ("iris", ["3"])
    (tensor,) = model["inputs"]
    assert (tensor["name"], tensor["datatype"]) == ("x", "FP32")
    assert list(map(int, tensor["shape"])) == [-1, 2]


def test_unready(client: Any, served: Serving) -> None:
    served.unready = "1 of 2 workers have loaded the model."
    try:
        assert client.is_server_live()
        assert not client.is_server_ready()
        assert not client.is_model_ready("iris")
    finally:
        served.unready = ""


@pytest.mark.parametrize(
    "array",
    [
        np.array([[1.5, -2.0], [np.nan, np.inf]], np.float32),
        np.array([0.5, 65504.0], np.float16),
        np.arange(6, dtype=np.int8).reshape(1, 2, 3),
        np.array([0, 2**64 - 1], np.uint64),
        np.array([True, False]),
        np.array(["", "ä", "\0"], np.object_),
        np.zeros((0, 4), np.float64),
        np.random.default_rng(0).random(1 << 17),
    ],
    ids=["fp32", "fp16", "int8", "uint64", "bool", "bytes", "empty", "1 MiB"],
)
def test_tensors_come_back_as_they_went(triton: Any, client: Any, array: np.ndarray) -> None:
    result = client.infer("iris", [given(triton, array)], request_id="42")
    back = result.as_numpy("x_out")
    if array.dtype == np.object_:
        back = np.array([value.decode() for value in back], np.object_)
    np.testing.assert_array_equal(back, array)
    assert plain(result.get_response())["id"] == "42"


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_json_and_binary_data_mix(served: Serving, binary_in: bool, binary_out: bool) -> None:
    x, y = np.array([[0.1, 2.0]], np.float32), np.array(["a", "ä"], np.object_)
    first = triton_http.InferInput("x", [1, 2], "FP32")
    first.set_data_from_numpy(x, binary_data=binary_in)
    outputs = [
        triton_http.InferRequestedOutput("y_out", binary_data=binary_out),
        triton_http.InferRequestedOutput("x_out", binary_data=not binary_out),
    ]
    with connected(triton_http, served) as client:
        result = client.infer("iris", [first, given(triton_http, y, "y")], outputs=outputs)
    np.testing.assert_array_equal(result.as_numpy("x_out"), x)
    texts = [v.decode() if isinstance(v, bytes) else v for v in result.as_numpy("y_out")]
    assert texts == ["a", "ä"]


def test_compressed_requests(served: Serving) -> None:
    x = np.zeros((1000, 2), np.float32)
    with connected(triton_http, served) as client:
        for algorithm in ("gzip", "deflate"):
            result = client.infer(
                "iris", [given(triton_http, x)], request_compression_algorithm=algorithm
            )
            np.testing.assert_array_equal(result.as_numpy("x_out"), x)


def test_chosen_outputs(triton: Any, client: Any) -> None:
    array = np.array([[1, 2]], np.float32)
    inputs = [given(triton, array), given(triton, array, "y")]
    result = client.infer("iris", inputs, outputs=[triton.InferRequestedOutput("y_out")])
    assert result.as_numpy("x_out") is None
    assert result.as_numpy("y_out") is not None


def test_errors_have_a_message_and_a_status(triton: Any, client: Any) -> None:
    x = given(triton, np.array([[1, 2]], np.float32))
    wanted = [triton.InferRequestedOutput("z")]
    cases: list[tuple[Callable[[], Any], str, str, str]] = [
        (lambda: client.infer("rose", [x]), "404", "NOT_FOUND", "`iris`"),
        (lambda: client.infer("iris", [x], model_version="9"), "404", "NOT_FOUND", "3"),
        (lambda: client.infer("iris", [x, x]), "400", "INVALID_ARGUMENT", "`x`"),
        (lambda: client.infer("iris", [x], outputs=wanted), "400", "INVALID_ARGUMENT", "`z`"),
        (lambda: client.get_model_metadata("rose"), "404", "NOT_FOUND", "`iris`"),
    ]
    for call, http, code, message in cases:
        with pytest.raises(InferenceServerException) as caught:
            call()
        assert caught.value.status() in (http, f"StatusCode.{code}")
        assert message in caught.value.message()


def test_a_script_that_fails_tells_no_more_than_that(
    triton: Any, client: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    x = given(triton, np.array([[1, 2]], np.float32))
    with pytest.raises(InferenceServerException) as caught:
        client.infer("iris", [x], parameters={"fail": True})
    assert caught.value.status() in ("500", "StatusCode.INTERNAL")
    assert "secret" not in str(caught.value)
    assert "secret" in capfd.readouterr().err


def test_keys(triton: Any, guarded: Serving) -> None:
    x = given(triton, np.array([[1, 2]], np.float32))
    client = connected(triton, guarded)
    assert client.is_server_live()
    assert client.infer("iris", [x], headers=dict(BEARER)).as_numpy("x_out") is not None
    for headers in (None, {"authorization": "Bearer my_x"}):
        with pytest.raises(InferenceServerException) as caught:
            client.infer("iris", [x], headers=headers)
        assert caught.value.status() in ("401", "StatusCode.UNAUTHENTICATED")
    client.close()


def infer(served: Serving, body: bytes, **headers: str) -> tuple[int, Any]:
    connection = HTTPConnection(served.http, timeout=20)
    connection.request("POST", "/v2/models/iris/infer", body, headers)
    response = connection.getresponse()
    answer = json.loads(response.read())
    connection.close()
    return response.status, answer


X = b'{"inputs":[{"name":"x","datatype":"FP32","shape":%b,"data":%b}]}'
BINARY = b'{"name":"x","datatype":"FP32","shape":[2],"parameters":{"binary_data_size":%b}}'
LENGTH = "Inference-Header-Content-Length"


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"", {}),
        (b"\xff\xfe{", {}),
        (b"[" * 100_000, {}),
        (X % (b"[1]", b"[" * 100_000 + b"]" * 100_000), {}),
        (X % (b"[1]", b"[%b]" % (b"9" * 5000)), {}),
        (X % (b"[1]", b"[NaN]"), {}),
        (X % (b"[1]", b"[1e999]"), {}),
        (X % (b"[1]", b'["\\ud800"]'), {}),
        (X % (b"[4294967296,4294967296]", b"[1]"), {}),
        (X % (b"[-1]", b"[1]"), {}),
        (X % (b"[18446744073709551616]", b"[1]"), {}),
        (X % (b"[1000000,0]", b"[]"), {}),
        (b'{"inputs":[' + b",".join([b'{"name":"x"}'] * 250_000) + b"]}", {}),
        (b'{"inputs":[' + BINARY % b"8" + b"]}", {LENGTH: "999999999"}),
        (b'{"inputs":[' + BINARY % b"8" + b"]}", {LENGTH: "-1"}),
        (b'{"inputs":[' + BINARY % b"9223372036854775808" + b"]}", {}),
    ],
    ids=range(16),
)
def test_hostile_bodies_are_refused_and_the_next_one_served(
    served: Serving, body: bytes, headers: dict[str, str]
) -> None:
    status, answer = infer(served, body, **headers)
    assert (status, answer.keys()) == (400, {"error"})
    assert infer(served, X % (b"[1]", b"[1]"))[0] == 200


def call(served: Serving, body: bytes, method: str = "ModelInfer", **options: Any) -> Any:
    with grpc.insecure_channel(served.grpc, **options) as channel:
        path = f"/inference.GRPCInferenceService/{method}"
        return channel.unary_unary(path)(body, timeout=20)


@pytest.mark.parametrize(
    ("body", "method", "code"),
    [
        (b"\xff\xff", "ModelInfer", "INVALID_ARGUMENT"),
        (b"", "ModelInfer", "NOT_FOUND"),
        (b"\x0a\x04iris" + b"\x2a\x00" * 1_000_000, "ModelInfer", "INVALID_ARGUMENT"),
        (b"\x0a\x04iris" + b"\0" * (5 << 20), "ModelInfer", "RESOURCE_EXHAUSTED"),
        (b"\xff", "ModelMetadata", "INVALID_ARGUMENT"),
        (b"", "ModelStreamInfer", "UNIMPLEMENTED"),
        (b"", "RepositoryIndex", "UNIMPLEMENTED"),
    ],
)
def test_hostile_messages_are_refused(served: Serving, body: bytes, method: str, code: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        call(served, body, method)
    assert caught.value.code() is grpc.StatusCode[code]
    assert "/" not in caught.value.details()
    assert call(served, b"", "ServerLive") == b"\x08\x01"


def test_a_compressed_message_is_measured_as_it_is_inflated(served: Serving) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        call(served, b"\0" * (64 << 20), compression=grpc.Compression.Gzip)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_answers_carry_ids_and_times_as_metadata(served: Serving) -> None:
    message = triton_grpc.service_pb2.ModelInferRequest(model_name="iris")
    message.inputs.add(name="x", datatype="INT8", shape=[1])
    message.raw_input_contents.append(b"\1")
    with grpc.insecure_channel(served.grpc) as channel:
        infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        sent = (("x-request-id", "mine"),)
        _, answered = infer.with_call(message.SerializeToString(), metadata=sent, timeout=20)
    metadata = dict(answered.trailing_metadata())
    assert metadata["x-request-id"] == "mine"
    assert "run;dur=" in metadata["server-timing"]
