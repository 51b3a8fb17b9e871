from __future__ import annotations

import math
import tracemalloc
from typing import Any

import numpy as np
import orjson
import pytest

from modelyard_runtime.http.server import Headers, HttpError, Request, Response
from modelyard_runtime.protocols.infer import Inference
from modelyard_runtime.protocols.infer_json import read_inference, write_inference
from modelyard_runtime.tensors import Tensor

X = {"name": "x", "datatype": "INT32", "shape": [2], "data": [1, 2]}
BINARY_X = {"name": "x", "datatype": "INT32", "shape": [2], "parameters": {"binary_data_size": 8}}
MODEL = {"model_name": "iris", "model_version": "3"}


def request(body: Any, binary: bytes | None = None, length: bytes | None = None) -> Request:
    head = body if isinstance(body, bytes) else orjson.dumps(body)
    pairs = []
    if binary is not None or length is not None:
        pairs.append((b"inference-header-content-length", length or b"%d" % len(head)))
    return Request("POST", "/v2/models/iris/infer", "", Headers(pairs), head + (binary or b""))


def read(body: Any, binary: bytes | None = None, length: bytes | None = None) -> Inference:
    return read_inference(request(body, binary, length))


def refused(body: Any, binary: bytes | None = None, length: bytes | None = None) -> str:
    with pytest.raises(HttpError) as caught:
        read(body, binary, length)
    assert caught.value.status == 400
    assert len(caught.value.message) < 300
    return caught.value.message


def test_a_request_of_json() -> None:
    inference = read({"id": "42", "parameters": {"threshold": 0.5}, "inputs": [X]})
    assert inference.id == "42"
    assert inference.parameters == {"threshold": 0.5}
    assert inference.inputs == [Tensor("x", "INT32", (2,), [1, 2])]
    assert not inference.outputs
    assert not inference.binary


def test_null_is_as_good_as_nothing() -> None:
    nothing = {"id": None, "parameters": None, "outputs": None}
    assert read({"inputs": [X | {"parameters": None}], **nothing}) == read({"inputs": [X]})


def test_a_request_with_binary_data() -> None:
    y = {"name": "y", "datatype": "FP64", "shape": [1, 1], "data": [[0.5]]}
    z = {"name": "z", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 5}}
    binary = np.array([1, 2], np.int32).tobytes() + b"\1\0\0\0a"
    x, y_read, z_read = read({"inputs": [BINARY_X, y, z]}, binary).inputs
    assert x.elements() == [1, 2]
    assert y_read.nested() == [[0.5]]
    assert z_read.elements() == [b"a"]


def test_empty_binary_data() -> None:
    empty = {"name": "x", "datatype": "FP32", "shape": [0], "parameters": {"binary_data_size": 0}}
    assert read({"inputs": [empty]}, b"").inputs[0].elements() == []


def test_binary_data_is_not_copied() -> None:
    big = {
        "name": "x",
        "datatype": "FP32",
        "shape": [1 << 18],
        "parameters": {"binary_data_size": 1 << 20},
    }
    asked = request({"inputs": [big]}, b"\0" * (1 << 20))
    tracemalloc.start()
    try:
        read_inference(asked)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"inputs": [NaN]}',
        b'{"inputs": 1e999}',
        b'{"id": "\\ud800", "inputs": []}',
        b"[" * 100_000,
        b'{"inputs": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"inputs": ' + b"9" * 5_000 + b"}",
        b"null",
        b"[]",
        b'"inputs"',
        {},
        {"inputs": None},
        {"inputs": []},
        {"inputs": {}},
        {"inputs": "x"},
        {"inputs": [1]},
        {"inputs": [[X]]},
        {"inputs": [X], "id": 42},
        {"inputs": [X], "parameters": []},
        {"inputs": [X], "parameters": {"a": [1]}},
        {"inputs": [X], "parameters": {"binary_data_output": "true"}},
        {"inputs": [X], "outputs": {}},
        {"inputs": [X], "outputs": ["y"]},
        {"inputs": [X], "outputs": [{}]},
        {"inputs": [X], "outputs": [{"name": 1}]},
        {"inputs": [X], "outputs": [{"name": "y", "parameters": {"binary_data": 1}}]},
        {"inputs": [X], "outputs": [{"name": "y", "parameters": {"classification": 2}}]},
        {"inputs": [X], "outputs": [{"name": "y"}, {"name": "y"}]},
    ],
)
def test_what_is_no_request_is_refused(body: Any) -> None:
    refused(body)


@pytest.mark.parametrize(
    "broken",
    [
        {"datatype": None},
        {"datatype": "INT33"},
        {"datatype": 5},
        {"datatype": ["INT32"]},
        {"shape": None},
        {"shape": 2},
        {"shape": "2"},
        {"shape": {"0": 2}},
        {"shape": [True, 2]},
        {"shape": [2.0]},
        {"shape": ["2"]},
        {"shape": [[2]]},
        {"shape": [-2]},
        {"shape": [3]},
        {"shape": [2**62, 2**62]},
        {"shape": [2**63]},
        {"data": None},
        {"data": "1,2"},
        {"data": [1, "2"]},
        {"data": [1, 2**31]},
        {"parameters": 1},
        {"parameters": {"a": []}},
        {"parameters": {"a": {}}},
        {"parameters": {"binary_data_size": 8}},
        {"parameters": {"shared_memory_region": "r"}},
    ],
)
def test_what_is_wrong_with_an_input_names_it(broken: dict[str, Any]) -> None:
    good = X | {"name": "good"}
    assert "`x`" in refused({"inputs": [good, X | broken]})


def test_an_input_without_data() -> None:
    assert "`x`" in refused({"inputs": [{"name": "x", "datatype": "INT32", "shape": [2]}]})


@pytest.mark.parametrize("name", [None, 5, "", [], {}])
def test_an_input_without_a_name(name: Any) -> None:
    assert "name" in refused({"inputs": [X | {"name": name}]})


def test_an_input_that_is_there_twice() -> None:
    assert "`x`" in refused({"inputs": [X, X]})


def test_too_many_inputs_are_refused_before_they_are_read() -> None:
    message = refused(
        b'{"inputs":[' + b",".join([b'{"name":"x","datatype":"INT8","shape":[]}'] * 100_000) + b"]}"
    )
    assert "1024" in message


@pytest.mark.parametrize("size", [-1, 7, 9, 2**63, 8.0, "8", True, [8]])
def test_binary_sizes_that_lie(size: Any) -> None:
    given = BINARY_X | {"parameters": {"binary_data_size": size}}
    assert "`x`" in refused({"inputs": [given]}, b"\0" * 8)


def test_binary_data_that_is_no_input_s() -> None:
    assert "1 bytes" in refused({"inputs": [BINARY_X]}, b"\0" * 9)


def test_binary_data_without_the_header() -> None:
    assert "`x`" in refused({"inputs": [BINARY_X]})


@pytest.mark.parametrize("length", [b"", b"-1", b"+5", b"1e3", b"0x10", b"10000", b"9" * 5000])
def test_header_lengths_that_lie(length: bytes) -> None:
    asked = request({"inputs": [X]})
    asked.headers.pairs.append((b"inference-header-content-length", length))
    with pytest.raises(HttpError) as caught:
        read_inference(asked)
    assert caught.value.status == 400


def test_a_header_length_that_cuts_the_json() -> None:
    assert "JSON" in refused({"inputs": [X]}, b"", length=b"10")


def answered(asked: dict[str, Any], results: list[Tensor]) -> Response:
    return write_inference(read({"inputs": [X]} | asked), results, MODEL)


FLOATS = Tensor("y", "FP32", (1, 2), [1.5, math.nan])
TEXTS = Tensor("t", "BYTES", (1,), ["ä"])


def test_an_answer_in_json() -> None:
    response = answered({"id": "42"}, [FLOATS, TEXTS])
    assert orjson.loads(response.body) == {
        "model_name": "iris",
        "model_version": "3",
        "id": "42",
        "outputs": [
            {"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [1.5, None]},
            {"name": "t", "datatype": "BYTES", "shape": [1], "data": ["ä"]},
        ],
    }
    assert response.headers == [(b"content-type", b"application/json")]


def test_an_answer_has_no_id_that_was_not_asked_with() -> None:
    assert "id" not in orjson.loads(answered({}, [FLOATS]).body)


def split(response: Response) -> tuple[dict[str, Any], bytes]:
    length = int(dict(response.headers)[b"inference-header-content-length"])
    return orjson.loads(response.body[:length]), response.body[length:]


def test_all_outputs_as_binary_data() -> None:
    response = answered({"parameters": {"binary_data_output": True}}, [FLOATS, TEXTS])
    head, data = split(response)
    sizes = [output["parameters"]["binary_data_size"] for output in head["outputs"]]
    assert sizes == [8, 6]
    assert all("data" not in output for output in head["outputs"])
    assert data == np.array([1.5, np.nan], np.float32).tobytes() + b"\2\0\0\0\xc3\xa4"
    assert (b"content-type", b"application/octet-stream") in response.headers


def test_chosen_outputs_in_the_order_asked_for() -> None:
    outputs = [{"name": "t"}, {"name": "y", "parameters": {"binary_data": True}}]
    head, data = split(answered({"outputs": outputs}, [FLOATS, TEXTS]))
    assert [output["name"] for output in head["outputs"]] == ["t", "y"]
    assert head["outputs"][0]["data"] == ["ä"]
    assert len(data) == 8


def test_an_output_may_differ_from_what_is_asked_for_all() -> None:
    asked = {
        "parameters": {"binary_data_output": True},
        "outputs": [{"name": "y", "parameters": {"binary_data": False}}, {"name": "t"}],
    }
    head, data = split(answered(asked, [FLOATS, TEXTS]))
    assert "data" in head["outputs"][0]
    assert len(data) == 6


def test_an_unknown_output_is_named() -> None:
    with pytest.raises(HttpError) as caught:
        answered({"outputs": [{"name": "z"}]}, [FLOATS])
    assert caught.value.status == 400
    assert "`z`" in caught.value.message
    assert "`y`" in caught.value.message


def test_bytes_that_json_cannot_carry() -> None:
    raw = Tensor("y", "BYTES", (1,), [b"\xff"])
    with pytest.raises(HttpError) as caught:
        answered({}, [raw])
    assert "`binary_data`" in caught.value.message
    _, data = split(answered({"parameters": {"binary_data_output": True}}, [raw]))
    assert data == b"\1\0\0\0\xff"
