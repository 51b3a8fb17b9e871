"""What becomes of an answer that was promised, without a server."""

from __future__ import annotations

import asyncio

from modelyard_runtime.http.server import Reply, Response


def outcome(answer: Response | Reply) -> Response:
    """What a handler has answered already, at once or through a reply."""
    if isinstance(answer, Response):
        return answer
    response = answer.promise_to(Expecting())
    assert response is not None, "there is no answer yet"
    return response


class Expecting:
    """Stands where a connection would, and can be awaited."""

    def __init__(self) -> None:
        self.response: Response | None = None
        self.came = asyncio.Event()

    def replied(self, response: Response) -> None:
        self.response = response
        self.came.set()


async def answered(answer: Response | Reply) -> Response:
    """What a handler answers, now or later."""
    if isinstance(answer, Response):
        return answer
    expecting = Expecting()
    response = answer.promise_to(expecting)
    if response is not None:
        return response
    await expecting.came.wait()
    assert expecting.response is not None
    return expecting.response
