"""Ray Serve with two replicas and dynamic batching: `python ray_app.py PORT`."""

import signal
import sys

import calls
import orjson
import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import Response


def answer(value):
    """JSON from numpy."""
    body = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, media_type="application/json")


@serve.deployment(num_replicas=2, max_ongoing_requests=256, ray_actor_options={"num_cpus": 1})
class Batched:
    """Scores requests of one row together."""

    def __init__(self):
        self.call = calls.load()

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=0.002)
    async def score(self, batch):
        results = self.call([row for rows in batch for row in rows])
        return [results[i : i + 1] for i in range(len(batch))]

    async def __call__(self, request: Request):
        return answer(await self.score(orjson.loads(await request.body())))


@serve.deployment(num_replicas=2, max_ongoing_requests=256, ray_actor_options={"num_cpus": 1})
class Single:
    """One call a request."""

    def __init__(self):
        self.call = calls.load()

    async def __call__(self, request: Request):
        body = await request.body()
        return answer(self.call(body if calls.WORKLOAD == "W4" else orjson.loads(body)))


if __name__ == "__main__":
    ray.init(
        num_cpus=2, include_dashboard=False, logging_level="warning", object_store_memory=100 << 20
    )
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run((Single if calls.WORKLOAD in ("W3", "W4") else Batched).bind())
    signal.pause()
