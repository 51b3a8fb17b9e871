"""MLServer runtimes for what it ships none: ONNX, and a mean of raw bytes."""

import calls
from fastapi import Request
from fastapi.responses import JSONResponse
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.handlers import custom_handler
from mlserver.types import InferenceRequest, InferenceResponse


class Onnx(MLModel):
    """The model call in the runtime's own form; batched by the server."""

    async def load(self) -> bool:
        self._call = calls.load()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = self.decode(payload.inputs[0], default_codec=NumpyCodec)
        output = NumpyCodec.encode_output("y", self._call(rows))
        return InferenceResponse(model_name=self.name, outputs=[output])


class Mean(MLModel):
    """The server has no binary tensors over REST; a handler of our own takes raw bytes."""

    async def load(self) -> bool:
        self._call = calls.load()
        return True

    @custom_handler(rest_path="/mean")
    async def mean(self, request: Request) -> JSONResponse:
        return JSONResponse([float(self._call(await request.body()))])
