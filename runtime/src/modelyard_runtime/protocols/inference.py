"""The Open Inference Protocol v2 over REST: health, metadata, and `infer` on named tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from modelyard_runtime import __version__
from modelyard_runtime.config import Config
from modelyard_runtime.entry import Entry
from modelyard_runtime.http.server import JSON, HttpError, Request, Response
from modelyard_runtime.protocols.base import Page, Protocol, Surface, Unready
from modelyard_runtime.protocols.infer import Inference, ServedModel, check_outputs
from modelyard_runtime.protocols.infer_json import read_inference, write_inference
from modelyard_runtime.signature import Arguments, Signature
from modelyard_runtime.tensors import TensorSpec

SERVER_NAME = "modelyard"
EXTENSIONS = ("binary_tensor_data",)


class InferenceProtocol(Protocol):
    """Scores named tensors; what is read of a request is kept for its answer."""

    name = "infer"

    def __init__(self, signature: Signature, model: Mapping[str, str]) -> None:
        self._signature = signature
        self._model = model
        self._outputs = [output.name for output in signature.outputs]
        self._methods = signature.methods

    def decode(self, request: Request) -> Arguments:
        """Arguments from the tensors and parameters of a body."""
        inference = self.read(request)
        parameters = self._asking(inference) if self._methods else inference.parameters
        if self._outputs and parameters.get("method") in (None, *self._methods[:1]):
            check_outputs(inference.outputs, self._outputs)
        request.note = inference
        return self._signature.from_tensors(inference.inputs, parameters)

    def encode(self, result: Any, request: Request) -> Response:
        """The outputs asked for, out of those that a result makes."""
        try:
            return self.write(request.note, result)
        except HttpError as error:
            return self.error(error.status, error.message)

    def error(self, status: int, message: str) -> Response:
        """`{"error": …}`. What does not fit the model is 400 here, as everything wrong is."""
        return error_response(status, message)

    def read(self, request: Request) -> Inference:
        """The request in a body. Raises `HttpError`."""
        return read_inference(request)

    def write(self, inference: Inference, result: Any) -> Response:
        """The answer of a result. Raises `HttpError` when something else is asked for."""
        return write_inference(inference, self._signature.to_tensors(result), self._model)

    def _asking(self, inference: Inference) -> Mapping[str, Any]:
        """The parameters; the output that is asked for may name the method instead of them."""
        if "method" in inference.parameters or len(inference.outputs) != 1:
            return inference.parameters
        name = inference.outputs[0].name
        if name in self._outputs or name not in self._methods:
            return inference.parameters
        return {**inference.parameters, "method": name}


def routes(entry: Entry, config: Config, unready: Unready) -> Surface:
    """The paths where a replica answers this protocol."""
    model = ServedModel.of(entry, config)
    server = _page({"name": SERVER_NAME, "version": __version__, "extensions": EXTENSIONS})
    paths: dict[str, dict[str, Protocol | Page]] = {
        "/v2": {"GET": server},
        "/v2/": {"GET": server},
        "/v2/health/live": {"GET": _page({"live": True})},
        "/v2/health/ready": {"GET": _ready({"ready": True}, unready)},
    }
    for version in ("", *model.versions):
        at = f"/v2/models/{model.name}" + (f"/versions/{version}" if version else "")
        infer = InferenceProtocol(entry.signature, model.answering(version))
        paths[at] = {"GET": _page(_describe(model))}
        paths[f"{at}/ready"] = {"GET": _ready({"name": model.name, "ready": True}, unready)}
        paths[f"{at}/infer"] = {"POST": infer}
    return Surface(paths, "/v2/", _missing(model))


def error_response(status: int, message: str) -> Response:
    """An error as this protocol tells it, which knows 400 only for what is wrong with a request."""
    body = orjson.dumps({"error": message})
    return Response(400 if status == 422 else status, body, [JSON])


def _missing(model: ServedModel) -> Callable[[int, str], Response]:
    versions = f", version {', '.join(model.versions)}" if model.versions else ""

    def error(status: int, message: str) -> Response:
        if status == 404:
            message = f"There is no such path. The model here is `{model.name}`{versions}."
        return error_response(status, message)

    return error


def _page(value: Mapping[str, Any]) -> Page:
    body = orjson.dumps(value)
    return lambda request: Response(200, body, [JSON])


def _ready(value: Mapping[str, Any], unready: Unready) -> Page:
    page = _page(value)

    def answer(request: Request) -> Response:
        reason = unready()
        return error_response(503, reason) if reason else page(request)

    return answer


def _describe(model: ServedModel) -> dict[str, Any]:
    return {
        "name": model.name,
        "versions": model.versions,
        "platform": model.platform,
        "inputs": [_describe_tensor(spec) for spec in model.inputs],
        "outputs": [_describe_tensor(spec) for spec in model.outputs],
    }


def _describe_tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": spec.shape}
