"""The answers a gateway makes itself: JSON with a sentence, a stable code and the request's id."""

from __future__ import annotations

import json

from modelyard_runtime.http.server import JSON, Response

BEARER = (b"www-authenticate", b"Bearer")
"""The header that says how to authenticate."""


def own_answer(
    status: int, code: str, message: str, request_id: bytes, *fields: tuple[bytes, bytes]
) -> Response:
    """An error as callers get it: `{"message", "code", "request_id"}`."""
    body = {"message": message, "code": code, "request_id": request_id.decode("latin-1")}
    return Response(
        status, json.dumps(body).encode(), [JSON, (b"x-request-id", request_id), *fields]
    )


def try_again(code: str, message: str, request_id: bytes) -> Response:
    """503: no replica had the request, and it may be sent again after a second."""
    return own_answer(503, code, message, request_id, (b"retry-after", b"1"))
