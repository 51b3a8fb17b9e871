"""Where a replica answers otherwise than the original, on purpose. The guide tells of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Difference:
    """What is answered instead."""

    reason: str
    status: int
    body: Any
    """Parsed, where it is JSON."""
    headers: dict[str, str | None] = field(default_factory=dict)
    """Header fields that differ; None where there is no such field."""


def _message(text: str) -> dict[str, str]:
    return {"message": text}


_HELPS = "the message says what to do"
_CONTINUES = "what JSON has a form for is answered instead of failing"
_SPACES = "the text is the same JSON without blanks between its parts"
_LIKE_GET = "HEAD is answered as GET is, as HTTP wants it"
_VALID = "JSON has no word for NaN and infinities"
_PLAIN_TEXT = "what is not HTML does not say that it is"
_NOT_THE_SERVERS_FAULT = "a body that cannot be read is the client's fault"
_ORIGIN = "only a request that names an origin is answered for one"

_NOT_UTF_8 = "'utf-8' codec can't decode byte 0xff in position 10: invalid start byte"

DIFFERENCES = {
    ("plain", "not UTF-8"): Difference(
        _HELPS, 400, _message("The body is not UTF-8: invalid start byte at byte 0.")
    ),
    ("plain", "returns set"): Difference(
        _HELPS,
        500,
        _message(
            "The scoring script returned what JSON cannot hold. Check the logs for more info."
        ),
    ),
    ("plain", "returns bytes"): Difference(
        "bytes are sent as they are", 200, "raw", {"content-type": "application/octet-stream"}
    ),
    ("plain", "returns date"): Difference(_CONTINUES, 200, "2019-01-02"),
    ("plain", "returns nan"): Difference(_VALID, 200, [None, None, 1.0]),
    ("plain", "query"): Difference(
        _SPACES,
        200,
        {"got": '{"a":1,"b":[1,2],"c":"a","d":null,"e":"","f":"x y z"}', "type": "str"},
    ),
    ("plain", "query with repeated fields"): Difference(
        _SPACES, 200, {"got": '{"foo":["bar1",2],"x":"y"}', "type": "str"}
    ),
    ("plain", "HEAD"): Difference(_LIKE_GET, 200, ""),
    ("plain", "health"): Difference(
        _PLAIN_TEXT, 200, "Healthy", {"content-type": "text/plain; charset=utf-8"}
    ),
    ("plain", "unknown path"): Difference(
        "a service is called by programs: there is no spelling to check",
        404,
        _message("The requested URL was not found on the server."),
        {"x-ms-run-function-failed": None},
    ),
    ("headers", "headers of a query"): Difference(
        _SPACES,
        200,
        {
            "data": '{"a":1}',
            "headers": {"X-Custom": "v", "Content-Type": None, "X-Twice": None},
        },
    ),
    ("rows", "null in a row"): Difference(_VALID, 200, [None]),
    ("rows", "NaN"): Difference(_VALID, 200, [None]),
    ("rows", "not UTF-8"): Difference(
        _NOT_THE_SERVERS_FAULT,
        400,
        _message(f"POST body could not be decoded as JSON: {_NOT_UTF_8}"),
    ),
    ("raw", "twice"): Difference(
        "one content type is sent, not two", 200, "x", {"content-type": "text/csv"}
    ),
    ("cors", "no origin"): Difference(
        _ORIGIN, 200, {"got": "x", "type": "str"}, {"access-control-allow-origin": None}
    ),
    ("cors", "a GET"): Difference(_SPACES, 200, {"got": '{"a":1}', "type": "str"}),
    ("cors", "health"): Difference(
        _PLAIN_TEXT, 200, "Healthy", {"content-type": "text/plain; charset=utf-8"}
    ),
}
"""By script and case."""
