"""Inference requests from JSON bodies, and answers into them, with the binary tensor extension.

In a body with binary data the JSON comes first, as long as `inference-header-content-length` says;
then the data of each tensor that has a `binary_data_size`, in order and without gaps.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from modelyard_runtime.http import JSON, HttpError, Request, Response
from modelyard_runtime.protocols.binary import bytes_of_tensor, tensor_of_bytes
from modelyard_runtime.protocols.infer import Inference, Wanted, check_names
from modelyard_runtime.protocols.values import (
    json_of_tensor,
    read_datatype,
    read_shape,
    tensor_of_json,
    wrong,
)
from modelyard_runtime.tensors import Tensor

_JSON_LENGTH = b"inference-header-content-length"
_LENGTH = re.compile(rb"[0-9]{1,12}")
_BINARY_BODY = (b"content-type", b"application/octet-stream")
_BINARY_OUTPUTS = "binary_data_output"
_SHARED_MEMORY = "shared_memory_region"

Object = dict[str, Any]


def read_inference(request: Request) -> Inference:
    """Read the body of an inference request.

    Raises:
        HttpError: 400, it is not one; the message names the input.
    """
    head, data = _split(request)
    body = _load(head)
    parameters = _parameters(body, "The request")
    binary = _flag(parameters, _BINARY_OUTPUTS, False)
    inputs = _objects(body, "inputs")
    if not inputs:
        raise HttpError(400, "The request has no `inputs`.")
    check_names("input", [_name(tensor, "inputs") for tensor in inputs])
    outputs = [_wanted(output, binary) for output in _objects(body, "outputs")]
    check_names("output", [wanted.name for wanted in outputs])
    return Inference(
        _string(body, "id"),
        {name: value for name, value in parameters.items() if name != _BINARY_OUTPUTS},
        _read_inputs(inputs, data),
        outputs,
        binary,
    )


def write_inference(
    inference: Inference, results: Sequence[Tensor], model: Mapping[str, str]
) -> Response:
    """The answer; `model` is what it says of the model that gave it.

    Raises:
        HttpError: 400, an output is asked for that there is not, or that JSON cannot carry.
    """
    parts: list[bytes | memoryview] = []
    outputs = []
    for tensor, binary in inference.choose(results):
        output: Object = {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": tensor.shape,
        }
        if binary:
            parts.append(bytes_of_tensor(tensor))
            output["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            output["data"] = _values(tensor)
        outputs.append(output)
    named = {"id": inference.id} if inference.id else {}
    head = orjson.dumps({**model, **named, "outputs": outputs})
    if not parts:
        return Response(200, head, [JSON])
    fields = [_BINARY_BODY, (_JSON_LENGTH, b"%d" % len(head))]
    return Response(200, b"".join([head, *parts]), fields)


def _values(tensor: Tensor) -> list[Any]:
    try:
        return json_of_tensor(tensor)
    except UnicodeDecodeError:
        raise HttpError(
            400,
            f"Output `{tensor.name}` holds bytes that are not UTF-8: ask for it with the parameter"
            " `binary_data`.",
        ) from None


def _split(request: Request) -> tuple[memoryview, memoryview]:
    """The JSON of a body, and the binary data behind it."""
    body = memoryview(request.body)
    length = request.headers.get(_JSON_LENGTH)
    if length is None:
        return body, body[:0]
    if not _LENGTH.fullmatch(length) or int(length) > len(body):
        raise HttpError(400, "`inference-header-content-length` is not a length within the body.")
    return body[: int(length)], body[int(length) :]


def _load(head: memoryview) -> Object:
    try:
        body = orjson.loads(head)
    except orjson.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}, position {error.pos}"
        raise HttpError(400, f"The request is not JSON: {error.msg}, at {where}.") from None
    if type(body) is not dict:
        raise HttpError(400, "The request must be a JSON object with `inputs`.")
    return body


def _objects(body: Object, key: str) -> list[Object]:
    values = body.get(key)
    if values is None:
        return []
    if type(values) is not list or set(map(type, values)) - {dict}:
        raise HttpError(400, f"`{key}` must be a list of objects.")
    return values


def _string(body: Object, key: str) -> str:
    value = body.get(key)
    if value is None:
        return ""
    if type(value) is not str:
        raise HttpError(400, f"`{key}` must be a string.")
    return value


def _name(tensor: Object, key: str) -> str:
    name = tensor.get("name")
    if type(name) is not str or not name:
        raise HttpError(400, f"Everything in `{key}` needs a `name` that is a string.")
    return name


def _parameters(owner: Object, who: str) -> Object:
    parameters = owner.get("parameters")
    if parameters is None:
        return {}
    if type(parameters) is not dict:
        raise HttpError(400, f"{who}: `parameters` must be an object.")
    return parameters


def _flag(parameters: Object, key: str, default: bool) -> bool:
    value = parameters.get(key, default)
    if type(value) is not bool:
        raise HttpError(400, f"The parameter `{key}` must be true or false.")
    return value


def _wanted(output: Object, binary: bool) -> Wanted:
    name = _name(output, "outputs")
    parameters = _parameters(output, f"Output `{name[:60]}`")
    for parameter in (_SHARED_MEMORY, "classification"):
        if parameters.get(parameter):
            raise HttpError(400, f"Output `{name[:60]}`: `{parameter}` is not supported.")
    return Wanted(name, _flag(parameters, "binary_data", binary))


def _read_inputs(inputs: list[Object], data: memoryview) -> list[Tensor]:
    tensors = []
    for given in inputs:
        name = given["name"]
        datatype = read_datatype(name, given.get("datatype"))
        shape = read_shape(name, given.get("shape"))
        parameters = given.get("parameters")
        if parameters is not None and (size := _binary_size(name, given, len(data))) is not None:
            tensors.append(tensor_of_bytes(name, datatype, shape, data[:size]))
            data = data[size:]
        else:
            if "data" not in given:
                raise wrong(name, "it has no `data`")
            tensors.append(tensor_of_json(name, datatype, shape, given["data"]))
    if data:
        raise HttpError(400, f"{len(data)} bytes of binary data are no input's.")
    return tensors


def _binary_size(name: str, given: Object, available: int) -> int | None:
    """How many bytes of the binary data are this input's; None when it is in the JSON."""
    parameters = _parameters(given, f"Input `{name[:60]}`")
    if _SHARED_MEMORY in parameters:
        raise wrong(name, "shared memory is not supported")
    size = parameters.get("binary_data_size")
    if size is None:
        return None
    if "data" in given:
        raise wrong(name, "it has both `data` and `binary_data_size`")
    if type(size) is not int or not 0 <= size <= available:
        raise wrong(name, f"`binary_data_size` is not a size within the {available} bytes left")
    return size
