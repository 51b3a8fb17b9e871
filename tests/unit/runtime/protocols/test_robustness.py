"""Whatever comes is read or refused: no other exception, no message that repeats it at length."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2 as public

from modelyard_runtime.http.server import Headers, HttpError, Request
from modelyard_runtime.protocols.infer import ServedModel
from modelyard_runtime.protocols.infer_grpc import read_message
from modelyard_runtime.protocols.infer_json import read_inference
from modelyard_runtime.protocols.mlflow import read_json
from modelyard_runtime.protocols.tables import table_of_csv
from modelyard_runtime.tensors import SIZES

MODEL = ServedModel("iris", (), "", (), ())

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)
shapes = st.lists(st.integers(-1, 4) | st.integers(-(2**63), 2**64 - 1), max_size=4) | values
datatypes = st.sampled_from([*SIZES, "BYTES"]) | values
parameters = st.fixed_dictionaries(
    {},
    optional={
        "binary_data_size": st.integers(-1, 40) | values,
        "binary_data": values,
        "binary_data_output": values,
        "shared_memory_region": values,
    },
)
tensors = st.fixed_dictionaries(
    {"name": st.sampled_from("xyz") | values, "datatype": datatypes, "shape": shapes},
    optional={"data": values, "parameters": parameters | values},
)
requests = st.fixed_dictionaries(
    {"inputs": st.lists(tensors, max_size=3) | values},
    optional={
        "id": values,
        "parameters": parameters | values,
        "outputs": st.lists(tensors, max_size=2) | values,
    },
)
forms = st.dictionaries(
    st.sampled_from(["dataframe_split", "dataframe_records", "instances", "inputs", "params"]),
    values
    | st.fixed_dictionaries({"columns": values, "data": values})
    | st.lists(st.dictionaries(st.sampled_from("ab"), values), max_size=3),
    max_size=2,
)


def read_or_refuse(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except HttpError as error:
        refusal = error
    assert refusal.status in (400, 404)
    assert 0 < len(refusal.message) < 400
    return None


@given(requests, st.none() | st.integers(0, 400), st.binary(max_size=40))
def test_inference_requests(body: Any, length: int | None, binary: bytes) -> None:
    head = orjson.dumps(body)
    fields = []
    if length is not None:
        given_length = len(head) if length > 200 else length
        fields.append((b"inference-header-content-length", b"%d" % given_length))
    request = Request("POST", "/", "", Headers(fields), head + binary)
    inference = read_or_refuse(lambda: read_inference(request))
    for tensor in inference.inputs if inference else ():
        assert len(tensor.elements()) == tensor.count


@given(st.binary(max_size=200))
def test_inference_requests_of_any_bytes(body: bytes) -> None:
    request = Request("POST", "/", "", Headers([]), body)
    read_or_refuse(lambda: read_inference(request))


@given(forms)
def test_tables(body: Any) -> None:
    found = read_or_refuse(lambda: read_json(orjson.dumps(body)))
    for row in found[0].rows if found and found[0].columns else ():
        assert len(row) == len(found[0].columns)


@given(st.text(alphabet='ab1.-+eE,"\n\r\t\0 é', max_size=60))
def test_csv(text: str) -> None:
    table = read_or_refuse(lambda: table_of_csv(text))
    for row in table.rows if table else ():
        assert len(row) == len(table.columns)


@given(
    st.sampled_from([*SIZES, "BYTES", "BF16", ""]),
    st.lists(st.integers(-1, 4) | st.integers(-(2**63), 2**63 - 1), max_size=3),
    st.lists(st.binary(max_size=40), max_size=2),
    st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4),
    st.lists(st.floats(width=32), max_size=4),
    st.binary(max_size=10),
)
def test_messages(
    datatype: str,
    shape: list[int],
    raw: list[bytes],
    integers: list[int],
    floats: list[float],
    more: bytes,
) -> None:
    message = public.ModelInferRequest(model_name="iris", raw_input_contents=raw)
    tensor = message.inputs.add(name="x", datatype=datatype, shape=shape)
    tensor.contents.int_contents.extend(integers)
    tensor.contents.fp32_contents.extend(floats)
    if raw:
        tensor.ClearField("contents")
    body = message.SerializeToString() + more
    inference = read_or_refuse(lambda: read_message(body, MODEL))
    for found in inference.inputs if inference else ():
        assert len(found.elements()) == found.count


@pytest.mark.parametrize("size", [0, 1, 7, 100, 10_000])
@given(data=st.data())
def test_messages_of_any_bytes(size: int, data: Any) -> None:
    body = data.draw(st.binary(max_size=min(size, 300))) * (1 + size // 300)
    read_or_refuse(lambda: read_message(body, MODEL))
