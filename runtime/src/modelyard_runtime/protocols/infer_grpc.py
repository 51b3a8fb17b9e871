"""Inference requests from gRPC messages, and answers into them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.message import DecodeError

from modelyard_runtime.http.server import HttpError
from modelyard_runtime.protocols.binary import bytes_of_tensor, tensor_of_bytes
from modelyard_runtime.protocols.grpc_messages import CHOICE, RAW_OUTPUT_CONTENTS, message_class
from modelyard_runtime.protocols.infer import (
    MOST_TENSORS,
    Inference,
    ServedModel,
    Wanted,
    check_names,
)
from modelyard_runtime.protocols.values import (
    check_datatype,
    check_range,
    expect_count,
    read_shape,
    wrong,
)
from modelyard_runtime.tensors import Tensor

_ModelRequest = message_class("ModelReadyRequest")
_Request = message_class("ModelInferRequest")
_Input = message_class("InputTensor")
_Output = message_class("RequestedOutput")
_Parameter = message_class("Parameter")
_Response = message_class("ModelInferResponse")

_CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
_EXACT = frozenset({"FP32", "FP64", "BYTES"})
"""Datatypes that hold whatever their field of a message can hold."""
_RAW_TAG = bytes([RAW_OUTPUT_CONTENTS << 3 | 2])


def read_model(body: bytes) -> tuple[str, str]:
    """Name and version of the model that a `ModelReadyRequest` or `ModelMetadataRequest` is about.

    Raises:
        HttpError: 400, it is not one.
    """
    message = _parse(_ModelRequest, body)
    return message.name, message.version


def read_message(body: bytes, model: ServedModel) -> Inference:
    """Read a `ModelInferRequest` to a model.

    Raises:
        HttpError: 400, it is not one; 404, it is to another model or version.
    """
    message = _parse(_Request, body)
    model.expect(message.model_name, message.model_version)
    inputs = _parse_all(_Input, message.inputs, "input")
    outputs = _parse_all(_Output, message.outputs, "output")
    check_names("output", [output.name for output in outputs])
    return Inference(
        message.id,
        _parameters(message.parameters),
        _tensors(inputs, message.raw_input_contents),
        [Wanted(output.name, True) for output in outputs],
        True,
        message.model_version,
    )


def write_message(
    inference: Inference, results: Sequence[Tensor], model: Mapping[str, str]
) -> bytes:
    """A `ModelInferResponse` with raw contents; `model` is what it says of the model.

    Raises:
        HttpError: 400, an output is asked for that there is not.
    """
    chosen = [tensor for tensor, _ in inference.choose(results)]
    message = _Response(id=inference.id, **model)
    for tensor in chosen:
        message.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
    parts: list[bytes | memoryview] = [message.SerializeToString()]
    for tensor in chosen:  # as protobuf would write them, but copied once instead of three times
        raw = bytes_of_tensor(tensor)
        parts += (_RAW_TAG, _varint(len(raw)), raw)
    return b"".join(parts)


def _parse(kind: Any, body: bytes) -> Any:
    try:
        return kind.FromString(body)
    except DecodeError:
        raise HttpError(400, "The request is not a message of the protocol.") from None


def _parse_all(kind: Any, bodies: Sequence[bytes], what: str) -> list[Any]:
    if len(bodies) > MOST_TENSORS:
        raise HttpError(400, f"The request has more than {MOST_TENSORS} {what}s.")
    return [_parse(kind, body) for body in bodies]


def _parameters(bodies: Sequence[bytes]) -> dict[str, Any]:
    values = {}
    for parameter in _parse_all(_Parameter, bodies, "parameter"):
        chosen = parameter.value.WhichOneof(CHOICE)
        values[parameter.key] = getattr(parameter.value, chosen) if chosen else None
    return values


def _tensors(inputs: list[Any], raw: Sequence[bytes]) -> list[Tensor]:
    if not inputs:
        raise HttpError(400, "The request has no `inputs`.")
    check_names("input", [given.name for given in inputs])
    if not raw:
        return [_tensor(given) for given in inputs]
    if len(raw) != len(inputs):
        raise HttpError(
            400, f"`raw_input_contents` has {len(raw)} elements for {len(inputs)} inputs."
        )
    return [_raw_tensor(given, data) for given, data in zip(inputs, raw, strict=True)]


def _raw_tensor(given: Any, data: bytes) -> Tensor:
    if given.HasField("contents"):
        raise wrong(given.name, "it has both `contents` and raw contents")
    datatype = given.datatype
    check_datatype(given.name, datatype)
    shape = read_shape(given.name, list(given.shape))
    return tensor_of_bytes(given.name, datatype, shape, memoryview(data))


def _tensor(given: Any) -> Tensor:
    datatype = given.datatype
    check_datatype(given.name, datatype)
    shape = read_shape(given.name, list(given.shape))
    field = _CONTENTS.get(datatype)
    if field is None:
        raise wrong(given.name, f"{datatype} can only be sent as raw contents")
    values = list(getattr(given.contents, field))
    expect_count(given.name, shape, len(values))
    if datatype not in _EXACT:
        check_range(given.name, datatype, values)
    return Tensor(given.name, datatype, shape, values)


def _varint(number: int) -> bytes:
    digits = bytearray()
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    digits.append(number)
    return bytes(digits)
