"""Inference requests from JSON bodies, and answers into them, with the binary tensor extension.

In a body with binary data the JSON comes first, as long as `inference-header-content-length` says;
then the data of each tensor that has a `binary_data_size`, in order and without gaps.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import orjson

from modelyard_runtime.http.server import JSON, HttpError, Request, Response
from modelyard_runtime.protocols.binary import bytes_of_tensor, tensor_of_bytes
from modelyard_runtime.protocols.infer import Inference, Wanted, check_names
from modelyard_runtime.protocols.values import (
    check_datatype,
    json_of_tensor,
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

Parameters = dict[str, bool | int | float | str | None]


class _Input(msgspec.Struct):
    name: str
    datatype: str
    shape: list[int]
    data: msgspec.Raw = msgspec.Raw()
    parameters: Parameters | None = None


class _Output(msgspec.Struct):
    name: str
    parameters: Parameters | None = None


class _Body(msgspec.Struct):
    inputs: list[_Input]
    id: str | None = None
    parameters: Parameters | None = None
    outputs: list[_Output] | None = None


class _Named(msgspec.Struct):
    name: str


class _Names(msgspec.Struct):
    inputs: list[_Named]


_read = msgspec.json.Decoder(_Body).decode
_read_names = msgspec.json.Decoder(_Names).decode
_SEARCHED = 1 << 20
"""Bytes of a request in which the name of an input is looked for, to put it into a message."""
_INPUT = re.compile(r"\$\.inputs\[(\d+)\]")


def read_inference(request: Request) -> Inference:
    """Read the body of an inference request.

    Raises:
        HttpError: 400, it is not one; the message names the input.
    """
    head, data = _split(request)
    body = _load(head)
    if not body.inputs:
        raise HttpError(400, "The request has no `inputs`.")
    check_names("input", [given.name for given in body.inputs])
    parameters = body.parameters or {}
    binary = _flag(parameters, _BINARY_OUTPUTS, False)
    outputs = [_wanted(output, binary) for output in body.outputs or ()]
    check_names("output", [wanted.name for wanted in outputs])
    return Inference(
        body.id or "",
        {name: value for name, value in parameters.items() if name != _BINARY_OUTPUTS},
        _read_inputs(body.inputs, data),
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
        output: dict[str, Any] = {
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
    body = request.view
    length = request.headers.get(_JSON_LENGTH)
    if length is None:
        return body, body[:0]
    if not _LENGTH.fullmatch(length) or int(length) > len(body):
        raise HttpError(400, "`inference-header-content-length` is not a length within the body.")
    return body[: int(length)], body[int(length) :]


def _load(head: memoryview) -> _Body:
    try:
        return _read(head)
    except msgspec.ValidationError as error:
        raise HttpError(400, f"{_place(head, str(error))}.") from None
    except RecursionError:
        raise HttpError(400, "The request is not JSON that is read here: too deep.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise HttpError(400, f"The request is not JSON: {error}.") from None


def _place(head: memoryview, problem: str) -> str:
    """What is wrong with a request, with the name of the input that it is wrong with."""
    found = _INPUT.search(problem)
    if found is None or len(head) > _SEARCHED:
        return f"The request cannot be read: {problem}"
    try:
        name = _read_names(head).inputs[int(found[1])].name
    except (msgspec.DecodeError, RecursionError):
        return f"The request cannot be read: {problem}"
    return wrong(name, problem).message.removesuffix(".")


def _flag(parameters: Parameters, key: str, default: bool) -> bool:
    value = parameters.get(key, default)
    if type(value) is not bool:
        raise HttpError(400, f"The parameter `{key}` must be true or false.")
    return value


def _wanted(output: _Output, binary: bool) -> Wanted:
    parameters = output.parameters or {}
    for parameter in (_SHARED_MEMORY, "classification"):
        if parameters.get(parameter):
            raise HttpError(400, f"Output `{output.name[:60]}`: `{parameter}` is not supported.")
    return Wanted(output.name, _flag(parameters, "binary_data", binary))


def _read_inputs(inputs: list[_Input], data: memoryview) -> list[Tensor]:
    tensors = []
    for given in inputs:
        name, datatype = given.name, given.datatype
        check_datatype(name, datatype)
        shape = read_shape(name, given.shape)
        text = bytes(given.data)
        size = _binary_size(given, len(data)) if given.parameters else None
        if size is not None:
            tensors.append(tensor_of_bytes(name, datatype, shape, data[:size]))
            data = data[size:]
        elif text:
            tensors.append(tensor_of_json(name, datatype, shape, text))
        else:
            raise wrong(name, "it has no `data`")
    if data:
        raise HttpError(400, f"{len(data)} bytes of binary data are no input's.")
    return tensors


def _binary_size(given: _Input, available: int) -> int | None:
    """How many bytes of the binary data are this input's; None when it is in the JSON."""
    parameters = given.parameters or {}
    if _SHARED_MEMORY in parameters:
        raise wrong(given.name, "shared memory is not supported")
    size = parameters.get("binary_data_size")
    if size is None:
        return None
    if bytes(given.data):
        raise wrong(given.name, "it has both `data` and `binary_data_size`")
    if type(size) is not int or not 0 <= size <= available:
        raise wrong(
            given.name, f"`binary_data_size` is not a size within the {available} bytes left"
        )
    return size
