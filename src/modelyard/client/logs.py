"""Reads log streams: one JSON object a line, continued after the last line when they break."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx2

from modelyard.client.connection import Connection, unreachable
from modelyard.client.lines import read_lines
from modelyard.domain.operation import LogLine

_SILENCE = 30.0
"""Seconds without a line after which a stream is opened anew: its other end may be gone."""


def read_log(
    connection: Connection,
    path: str,
    params: dict[str, Any],
    ended: Callable[[], bool],
    deadline: float | None = None,
) -> Iterator[LogLine]:
    """Every line there is, and with it what comes, until `ended` or the deadline.

    Args:
        connection: Where to ask.
        path: Route of the log.
        params: Query parameters, without `follow` and `after`.
        ended: Nothing more will be written; asked before each reading, so that no line is lost.
        deadline: `time.monotonic()` at which to stop.
    """
    query = dict(params)
    failures = 0
    while True:
        last = ended()
        query["follow"] = not last
        try:
            for line in _lines(connection, path, query, _patience(deadline)):
                failures = 0
                query["after"] = line.sequence
                query.pop("tail", None)
                yield line
            if last:
                return
        except httpx2.ReadTimeout:
            pass
        except httpx2.TransportError as error:
            failures += 1
            connection.pause(failures, unreachable(connection.url, error))
        if deadline is not None and time.monotonic() >= deadline:
            return


def _patience(deadline: float | None) -> float:
    if deadline is None:
        return _SILENCE
    return max(0.1, min(_SILENCE, deadline - time.monotonic()))


def _lines(
    connection: Connection, path: str, params: dict[str, Any], silence: float
) -> Iterator[LogLine]:
    with connection.stream(path, params, silence=silence) as response:
        yield from read_lines(response, LogLine)
