"""Bodies of requests that are not held in memory."""

from __future__ import annotations

from collections.abc import Callable

from anyio import to_thread
from fastapi import Request

from modelyard.errors import InvalidRequest

_BATCH = 1 << 20


async def receive(
    request: Request, write: Callable[[bytes], object], most: int | None = None
) -> None:
    """Write the body of a request as it comes, in a thread, a mebibyte at a time.

    Args:
        request: Whose body it is.
        write: Takes the bytes; it may raise to end it.
        most: Bytes that it may have; None: `write` sees to that.

    Raises:
        InvalidRequest: It is longer.
    """
    batch, size = bytearray(), 0
    async for chunk in request.stream():
        size += len(chunk)
        if most is not None and size > most:
            raise InvalidRequest(
                f"the body is longer than {most} bytes", hint="send fewer rows: a sample will do"
            )
        batch += chunk
        if len(batch) >= _BATCH:
            await to_thread.run_sync(write, bytes(batch))
            batch.clear()
    await to_thread.run_sync(write, bytes(batch))
