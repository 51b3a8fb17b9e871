"""Log streams: one JSON object a line, ending by itself, resumable by sequence."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence

from anyio import to_thread
from fastapi import Request
from fastapi.responses import StreamingResponse

from modelyard.control.signals import Signal
from modelyard.domain.operation import LogLine
from modelyard.errors import Unavailable

BATCH = 1000
"""Lines read at a time."""
ReadLines = Callable[[int], Sequence[LogLine]]
"""Lines with a sequence above the given one, `BATCH` at most."""


def log_response(
    request: Request,
    read: ReadLines,
    after: int,
    ended: Callable[[], bool],
    signal: Signal,
    wanted: Callable[[LogLine], bool] = lambda line: True,
) -> StreamingResponse:
    """Stream what there is, and with it what comes, until `ended` or the caller leaves."""

    async def body() -> AsyncIterator[bytes]:
        position = after
        while not await request.is_disconnected():
            seen = signal.count
            # Asked before reading: what was written before the end is then in the lines.
            last = await to_thread.run_sync(ended)
            lines = await to_thread.run_sync(read, position)
            for line in lines:
                position = line.sequence
                if wanted(line):
                    yield line.model_dump_json().encode() + b"\n"
            if lines:
                continue
            if last:
                return
            try:
                await signal.wait_async(seen, timeout=2.0)
            except Unavailable:
                return  # the server is stopping; the caller goes on from its position

    return StreamingResponse(body(), media_type="application/x-ndjson")
