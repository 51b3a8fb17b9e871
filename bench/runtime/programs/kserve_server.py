"""KServe's Python server, Open Inference Protocol v2; W4 by its binary extension.

Its workers are given a pickled copy of the model's object, which cannot hold an ONNX session: each
loads at its first request.
"""

import sys

import calls
import numpy as np
from kserve import InferOutput, InferResponse, Model, ModelServer


class Served(Model):
    """One model call a request: the server itself does not batch."""

    def __init__(self):
        super().__init__("bench")
        self.call = None
        self.ready = True

    async def predict(self, payload, headers=None, response_headers=None):
        if self.call is None:
            self.call = calls.load()
        tensor = payload.inputs[0].as_numpy()
        result = tensor.mean() if calls.WORKLOAD == "W4" else self.call(tensor)
        result = np.atleast_1d(np.asarray(result, dtype=np.float64))
        output = InferOutput(name="y", shape=list(result.shape), datatype="FP64")
        output.set_data_from_numpy(result, binary_data=False)
        return InferResponse(
            response_id=payload.id or "1", model_name=self.name, infer_outputs=[output]
        )


if __name__ == "__main__":
    ModelServer(
        http_port=int(sys.argv[1]), workers=2, enable_grpc=False, enable_latency_logging=False
    ).start([Served()])
