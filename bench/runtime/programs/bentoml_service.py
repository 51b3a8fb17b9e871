"""BentoML: two workers, adaptive batching where the workload allows it."""

import bentoml
import calls
import numpy as np
from fastapi import FastAPI, Request, Response

raw = FastAPI()


@bentoml.service(workers=2, traffic={"timeout": 120}, metrics={"enabled": True})
class Rows:
    """Batches requests of one row."""

    def __init__(self):
        self.call = calls.load()

    @bentoml.api(batchable=True, max_batch_size=256, max_latency_ms=60000)
    def score(self, rows: np.ndarray) -> np.ndarray:
        return self.call(rows)


@bentoml.service(workers=2, traffic={"timeout": 120})
class Table:
    """One call a request."""

    def __init__(self):
        self.call = calls.load()

    @bentoml.api
    def score(self, rows: np.ndarray) -> np.ndarray:
        return self.call(rows)


@bentoml.service(workers=2, traffic={"timeout": 120})
@bentoml.asgi_app(raw, path="/raw")
class Tensor:
    """Raw bytes have no input type: an application mounted in the service takes them."""

    def __init__(self):
        self.call = calls.load()

    @raw.post("/mean")
    async def mean(self, request: Request) -> Response:
        return Response(str(self.call(await request.body())), media_type="application/json")


Served = {"W3": Table, "W4": Tensor}.get(calls.WORKLOAD, Rows)
