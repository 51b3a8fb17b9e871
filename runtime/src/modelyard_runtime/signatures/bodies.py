"""Reads what a request to `/score` brings: a body, or the query of a `GET`, as text or as JSON."""

from __future__ import annotations

from collections.abc import Callable
from sys import getrecursionlimit
from typing import Any, TypeVar
from urllib.parse import parse_qs

import msgspec
import orjson

from modelyard_runtime.http.server import HttpError, Request

_MOST_QUERY_FIELDS = 1000
_DEEPEST = 5000

Text = bytes | memoryview | msgspec.Raw
"""JSON: a whole body, or a part of one."""
_T = TypeVar("_T")


def body_of(request: Request) -> bytes:
    """The body; for other methods than `POST` the query, as the JSON object a `POST` would send.

    A field that comes several times becomes a list; what reads as JSON is JSON, all else text.
    """
    return request.body if request.method == "POST" else _query_as_json(request.query)


def read_text(body: bytes) -> str:
    """A body as text. Anything but UTF-8 is answered with 400."""
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        message = f"The body is not UTF-8: {error.reason} at byte {error.start}."
        raise HttpError(400, message) from None


def read_json(body: Text) -> Any:
    """A body parsed as JSON; of a key that comes twice the last value counts.

    Anything else is answered with 400, among it NaN, infinities, numbers beyond a double, lone
    surrogates, and more than 1,024 levels.
    """
    if not body:
        raise HttpError(400, "The body is empty; JSON is expected.")
    try:
        return orjson.loads(memoryview(body))
    except orjson.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}, position {error.pos}"
        raise HttpError(400, f"The body is not JSON: {error.msg}, at {where}.") from None


def write_json(value: Any) -> bytes:
    """JSON again of what a request brought. What is nested too deeply for that is a 400."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        raise HttpError(400, "The values of the request are nested too deeply.") from None


def decode(decoder: Callable[[Text], _T], text: Text) -> _T:
    """Typed values from JSON, by the `decode` of a prepared msgspec decoder.

    Raises:
        HttpError: 400, it is not JSON.
        msgspec.ValidationError: It is JSON that does not fit.
    """
    if getrecursionlimit() > _DEEPEST:  # raised by the script: deep input would break the stack
        read_json(text)
    try:
        return decoder(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        read_json(text)  # tells where it is not JSON
        raise


def _query_as_json(query: str) -> bytes:
    try:
        fields = parse_qs(
            query, keep_blank_values=True, errors="strict", max_num_fields=_MOST_QUERY_FIELDS
        )
    except ValueError as error:
        raise HttpError(400, f"The query cannot be read: {error}.") from None
    values = {name: [_query_value(text) for text in texts] for name, texts in fields.items()}
    return write_json({name: v[0] if len(v) == 1 else v for name, v in values.items()})


def _query_value(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
