"""FastAPI as written by hand by somebody who cares: typed body, answered in the event loop."""

from __future__ import annotations

import calls
import orjson
from fastapi import FastAPI, Request, Response

app = FastAPI()
call = calls.load()


def answer(value: object) -> Response:
    """JSON from numpy."""
    body = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, media_type="application/json")


@app.post("/score")
async def score(rows: list[list[float]]) -> Response:
    """Score rows."""
    return answer(call(rows))


@app.post("/mean")
async def mean(request: Request) -> Response:
    """Score a tensor."""
    return answer(call(await request.body()))
