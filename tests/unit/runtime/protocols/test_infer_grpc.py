from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as public

from modelyard_runtime.http.server import HttpError
from modelyard_runtime.protocols.infer import Inference, ServedModel
from modelyard_runtime.protocols.infer_grpc import read_message, read_model, write_message
from modelyard_runtime.tensors import Tensor

MODEL = ServedModel("iris", ("3",), "sklearn_joblib", (), ())


def asked(**values: Any) -> Any:
    return public.ModelInferRequest(**{"model_name": "iris"} | values)


def with_input(
    datatype: str = "INT32", shape: tuple[int, ...] = (2,), name: str = "x", **contents: Any
) -> Any:
    message = asked()
    tensor = message.inputs.add(name=name, datatype=datatype, shape=shape)
    for field, values in contents.items():
        getattr(tensor.contents, field).extend(values)
    return message


def with_raw(raw: list[bytes], datatype: str = "INT32", shape: tuple[int, ...] = (2,)) -> Any:
    message = with_input(datatype, shape)
    message.raw_input_contents.extend(raw)
    return message


def read(message: Any) -> Inference:
    return read_message(message.SerializeToString(), MODEL)


def refused(message: Any, status: int = 400) -> str:
    body = message if isinstance(message, bytes) else message.SerializeToString()
    with pytest.raises(HttpError) as caught:
        read_message(body, MODEL)
    assert caught.value.status == status
    assert len(caught.value.message) < 300
    return caught.value.message


@pytest.mark.parametrize(
    ("datatype", "field", "values"),
    [
        ("BOOL", "bool_contents", [True, False]),
        ("INT8", "int_contents", [-128, 127]),
        ("INT16", "int_contents", [-32768, 32767]),
        ("INT32", "int_contents", [-(2**31), 2**31 - 1]),
        ("INT64", "int64_contents", [-(2**63), 2**63 - 1]),
        ("UINT8", "uint_contents", [0, 255]),
        ("UINT32", "uint_contents", [0, 2**32 - 1]),
        ("UINT64", "uint64_contents", [0, 2**64 - 1]),
        ("FP32", "fp32_contents", [1.5, math.inf]),
        ("FP64", "fp64_contents", [0.1, -math.inf]),
        ("BYTES", "bytes_contents", [b"", b"\xff"]),
    ],
)
def test_typed_contents(datatype: str, field: str, values: list[Any]) -> None:
    inference = read(with_input(datatype, **{field: values}))
    assert inference.inputs == [Tensor("x", datatype, (2,), values)]


def test_raw_contents() -> None:
    raw = np.array([1, 2], np.int32).tobytes()
    assert read(with_raw([raw])).inputs[0].elements() == [1, 2]
    assert read(with_raw([b"\1\0\0\0a"], "BYTES", (1,))).inputs[0].elements() == [b"a"]
    assert read(with_raw([b"\0\x3c"], "FP16", (1,))).inputs[0].elements() == [1.0]


def test_parameters_id_version_and_outputs() -> None:
    message = with_input(int_contents=[1, 2])
    message.id, message.model_version = "42", "3"
    message.parameters["a"].bool_param = True
    message.parameters["b"].int64_param = -(2**63)
    message.parameters["c"].string_param = "ä"
    message.parameters["d"].double_param = 0.5
    message.parameters["e"].uint64_param = 2**64 - 1
    message.outputs.add(name="y")
    inference = read(message)
    assert (inference.id, inference.version) == ("42", "3")
    assert inference.parameters == {"a": True, "b": -(2**63), "c": "ä", "d": 0.5, "e": 2**64 - 1}
    assert [wanted.name for wanted in inference.outputs] == ["y"]


def test_parameters_of_tensors_are_skipped() -> None:
    message = with_input(int_contents=[1, 2])
    message.inputs[0].parameters["content_type"].string_param = "np"
    message.outputs.add(name="y").parameters["binary_data"].bool_param = False
    assert len(read(message).inputs) == 1


def test_another_model_or_version() -> None:
    assert "`iris`" in refused(asked(model_name="rose"), 404)
    assert "3" in refused(asked(model_version="4"), 404)


@pytest.mark.parametrize(
    "body", [b"\xff", b"\x0a\xff", b"\x0a\x02\xff\xfe", b"{}", b"\x2a\x01\xff" + b"\x0a\x04iris"]
)
def test_what_is_no_message(body: bytes) -> None:
    refused(body)


def test_no_inputs() -> None:
    refused(asked())


@pytest.mark.parametrize(
    "message",
    [
        with_input("INT33", int_contents=[1, 2]),
        with_input("", int_contents=[1, 2]),
        with_input(shape=(-2,), int_contents=[1, 2]),
        with_input(shape=(3,), int_contents=[1, 2]),
        with_input(shape=(2**62, 2**62), int_contents=[1, 2]),
        with_input(shape=(1,) * 33, int_contents=[1]),
        with_input("INT8", int_contents=[1, 128]),
        with_input("UINT8", uint_contents=[1, 256]),
        with_input("INT64", int_contents=[1, 2]),
        with_input("FP16", fp32_contents=[1, 2]),
        with_input(),
        with_raw([b"\0" * 7]),
        with_raw([b"\0" * 9]),
        with_raw([b"\xff\xff\xff\xff"], "BYTES", (1,)),
    ],
)
def test_what_is_wrong_with_an_input_names_it(message: Any) -> None:
    assert "`x`" in refused(message)


def test_raw_contents_beside_typed_ones() -> None:
    message = with_input(int_contents=[1, 2])
    message.raw_input_contents.append(b"\0" * 8)
    assert "`x`" in refused(message)


def test_raw_contents_for_other_than_all_inputs() -> None:
    assert "2 elements for 1" in refused(with_raw([b"\0" * 8, b"\0" * 8]))


def test_an_input_without_a_name_or_with_one_twice() -> None:
    assert "`name`" in refused(with_input(name="", int_contents=[1, 2]))
    twice = with_input(int_contents=[1, 2])
    twice.inputs.append(twice.inputs[0])
    assert "`x`" in refused(twice)


@pytest.mark.parametrize("field", [4, 5, 6])
def test_a_million_of_anything_is_refused(field: int) -> None:
    model = asked().SerializeToString()
    assert "1024" in refused(model + bytes([field << 3 | 2, 0]) * 1_000_000)


RESULTS = [
    Tensor("y", "FP32", (1, 2), [1.5, math.nan]),
    Tensor("t", "BYTES", (1,), ["ä"]),
    Tensor("r", "UINT8", (300,), memoryview(b"\7" * 300)),
]


def test_an_answer_is_a_message_of_the_public_protocol() -> None:
    message = with_input(int_contents=[1, 2])
    message.id = "42"
    body = write_message(read(message), RESULTS, MODEL.answering())
    answer = public.ModelInferResponse.FromString(body)
    assert (answer.model_name, answer.model_version, answer.id) == ("iris", "3", "42")
    described = [(o.name, o.datatype, list(o.shape)) for o in answer.outputs]
    assert described == [("y", "FP32", [1, 2]), ("t", "BYTES", [1]), ("r", "UINT8", [300])]
    floats, text, raw = answer.raw_output_contents
    assert floats == np.array([1.5, np.nan], np.float32).tobytes()
    assert (text, raw) == (b"\2\0\0\0\xc3\xa4", b"\7" * 300)
    assert answer.SerializeToString() == body


def test_an_answer_of_chosen_outputs() -> None:
    message = with_input(int_contents=[1, 2])
    message.outputs.add(name="t")
    answer = public.ModelInferResponse.FromString(write_message(read(message), RESULTS, {}))
    assert [output.name for output in answer.outputs] == ["t"]
    assert len(answer.raw_output_contents) == 1


def test_an_unknown_output_is_named() -> None:
    message = with_input(int_contents=[1, 2])
    message.outputs.add(name="z")
    with pytest.raises(HttpError) as caught:
        write_message(read(message), RESULTS, {})
    assert caught.value.status == 400


def test_requests_about_a_model() -> None:
    assert read_model(public.ModelReadyRequest(name="a").SerializeToString()) == ("a", "")
    body = public.ModelMetadataRequest(name="a", version="1").SerializeToString()
    assert read_model(body) == ("a", "1")
    with pytest.raises(HttpError):
        read_model(b"\xff")
