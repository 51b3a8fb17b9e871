"""Answers the calls that one call of `run` has scored: what is the same for all is made once."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any

from modelyard_runtime.http.encoding import encode_fields
from modelyard_runtime.http.server import JSON, Response
from modelyard_runtime.scoring import SUCCEEDED, Call, times_told

_PLAIN = encode_fields((JSON,)) + SUCCEEDED
"""What is told of every answer in JSON."""


def answer_each(
    calls: Sequence[Call], results: Sequence[Any], decoding: float, running: float
) -> float:
    """Give each call its response, from its own result.

    Args:
        calls: The calls.
        results: One for each.
        decoding: Seconds that it took to read each, on average.
        running: Seconds of the call of `run`.

    Returns:
        Seconds that it took to write each, on average, which is what all of them are told.
    """
    began = perf_counter()
    responses = [call.respond(result) for call, result in zip(calls, results, strict=True)]
    encoding = (perf_counter() - began) / len(calls)
    times = times_told(decoding, running, encoding)
    for call, response in zip(calls, responses, strict=True):
        call.response = call.tell(response, SUCCEEDED, times)
    return encoding


def answer_plain(
    calls: Sequence[Call], bodies: Sequence[bytes], times: tuple[float, float, float]
) -> list[Response]:
    """The responses to plain calls, from JSON that is written already.

    Args:
        calls: The calls.
        bodies: One for each.
        times: Seconds of decoding, running and encoding.
    """
    told = _PLAIN + times_told(*times)
    ids = calls[0].scorer.ids
    return [
        Response(200, body, [], None, told + call.memo.identity.lines(ids))
        for call, body in zip(calls, bodies, strict=True)
    ]
