"""Answers one scoring request with the user's `run`: input, call, output, errors, headers.

It runs in the scoring thread of a worker and knows nothing of sockets. Every path ends in a
response: a request never sees a traceback, a path or a name of ours.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from asyncio import CancelledError
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import orjson

from modelyard_runtime import causes
from modelyard_runtime.causes import Cause
from modelyard_runtime.http import JSON, Headers, HttpError, Request, Response, error_response
from modelyard_runtime.loading import HEADERS_PARAMETER, Entry

_LONGEST_ID = 100
_MOST_QUERY_FIELDS = 1000
_IDS = frozenset({b"x-request-id", b"x-ms-request-id", b"x-ms-client-request-id", b"traceid"})
_RUN_FAILED = "An unexpected error occurred in scoring script. Check the logs for more info."
_NOT_JSON = "The scoring script returned what JSON cannot hold. Check the logs for more info."

_OPTIONS = orjson.OPT_NON_STR_KEYS
_FAST_OPTIONS = _OPTIONS | orjson.OPT_SERIALIZE_NUMPY

Fields = list[tuple[bytes, bytes]]


class Scorer:
    """Calls one script's `run` for one request at a time."""

    def __init__(self, entry: Entry, report: Callable[[Cause], None]) -> None:
        self._run = entry.run
        self._scene = entry.scene
        self._data = entry.data
        self._takes_headers = entry.takes_headers
        self._read = _reader(entry.annotation)
        self._report = report
        self._ids = _Ids()
        self.is_async = entry.is_async
        """`run` is a coroutine function: then `answer_async` is to be used."""

    def answer(self, request: Request) -> Response:
        """Score a request. Never raises."""
        began = time.perf_counter()
        ids: Fields = []
        try:
            ids = _identify(request.headers, self._ids)
            arguments = self._arguments(request)
            began = time.perf_counter()
            result = self._run(**arguments)
        except BaseException as error:
            return self._failed(error, ids, began)
        return self._succeeded(result, ids, began)

    async def answer_async(self, request: Request) -> Response:
        """Score a request with a `run` that is a coroutine function. Raises only if cancelled."""
        began = time.perf_counter()
        ids: Fields = []
        try:
            ids = _identify(request.headers, self._ids)
            arguments = self._arguments(request)
            began = time.perf_counter()
            result = await self._run(**arguments)
        except CancelledError:
            raise
        except BaseException as error:
            return self._failed(error, ids, began)
        return self._succeeded(result, ids, began)

    def timed_out(self, request: Request, timeout: float) -> Response:
        """The answer to a request that was not scored in `timeout` seconds."""
        try:
            ids = _identify(request.headers, self._ids)
        except _Unacceptable as error:
            ids = error.ids
        message = f"The request was not scored within {timeout:g} s."
        return _respond(error_response(504, message), ids)

    def _arguments(self, request: Request) -> dict[str, Any]:
        body = request.body if request.method == "POST" else _query_as_json(request.query)
        arguments = {self._data: self._read(body)}
        if self._takes_headers:
            arguments[HEADERS_PARAMETER] = RequestHeaders(request.headers)
        return arguments

    def _succeeded(self, result: Any, ids: Fields, began: float) -> Response:
        took = (time.perf_counter() - began) * 1000
        try:
            body, kind = _encode(result)
        except Exception as error:
            _log(ids, f"the answer of `run()` is not JSON: {error}")
            return _respond(error_response(500, _NOT_JSON), ids, took=took)
        return _respond(Response(200, body, [kind]), ids, took=took)

    def _failed(self, error: BaseException, ids: Fields, began: float) -> Response:
        if isinstance(error, _Unacceptable):
            fields = ids or error.ids
            return _respond(error_response(error.status, error.message), fields)
        _log(ids, f"`run()` raised\n{_user_traceback(error)}")
        self._report(causes.scoring_failed(error, self._scene))
        took = (time.perf_counter() - began) * 1000
        return _respond(error_response(500, _RUN_FAILED), ids, took=took, failed=True)


class RequestHeaders(dict[str, str]):
    """The headers for a script: `Title-Case` names, found in any case; repeated ones joined."""

    def __init__(self, headers: Headers) -> None:
        super().__init__()
        for name, value in headers:
            key, text = name.decode("latin-1").title(), value.decode("latin-1")
            self[key] = f"{self[key]}, {text}" if key in self else text

    def __missing__(self, name: str) -> str:
        title = name.title()
        if title == name:
            raise KeyError(name)
        return self[title]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and super().__contains__(name.title())

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a header in any case, or `default`."""
        return super().get(name.title(), default)


class _Unacceptable(HttpError):
    """The request cannot be scored, and that is not the script's fault."""

    def __init__(self, status: int, message: str, ids: Fields | None = None) -> None:
        super().__init__(status, message)
        self.ids = ids or []


def _reader(annotation: Any) -> Callable[[bytes], Any]:
    """How the data parameter takes the body, told by its annotation."""
    name = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    if name in ("_empty", "str"):
        return _read_text
    if name == "bytes":
        return bytes
    return _read_json


def _read_text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        message = f"The body is not UTF-8: {error.reason} at byte {error.start}."
        raise _Unacceptable(400, message) from None


def _read_json(body: bytes) -> Any:
    if not body:
        raise _Unacceptable(400, "The body is empty; JSON is expected.")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}, position {error.pos}"
        raise _Unacceptable(400, f"The body is not JSON: {error.msg}, at {where}.") from None


def _query_as_json(query: str) -> bytes:
    """A GET's query as the JSON object a POST would send; a repeated field becomes a list."""
    try:
        fields = parse_qs(
            query, keep_blank_values=True, errors="strict", max_num_fields=_MOST_QUERY_FIELDS
        )
    except ValueError as error:
        raise _Unacceptable(400, f"The query cannot be read: {error}.") from None
    values = {name: [_query_value(text) for text in texts] for name, texts in fields.items()}
    return orjson.dumps({name: v[0] if len(v) == 1 else v for name, v in values.items()})


def _query_value(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _encode(result: Any) -> tuple[bytes, tuple[bytes, bytes]]:
    if isinstance(result, bytes | bytearray | memoryview):
        return bytes(result), (b"content-type", b"application/octet-stream")
    if result is None:
        return b"{}", JSON
    try:
        return orjson.dumps(result, _plain, _FAST_OPTIONS), JSON
    except orjson.JSONEncodeError:  # perhaps only an array in another machine's byte order
        return orjson.dumps(result, _plain, _OPTIONS), JSON


def _plain(value: Any) -> Any:
    """What an array holds that orjson does not take: not contiguous, of strings, of objects."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"an object of type `{type(value).__name__}` cannot be sent as JSON")


class _Ids:
    """Identifiers of requests that bring none: random for this process, then counted.

    They have the form of a UUID, version 4. The class in the standard library takes a system call
    and ten times as long for each.
    """

    def __init__(self) -> None:
        digits = os.urandom(16).hex()
        variant = "89ab"[int(digits[16], 16) & 3]
        start = f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-"
        self._start = start.encode()
        self._count = int(digits[20:], 16)

    def new(self) -> bytes:
        """An identifier that no other request has."""
        self._count = (self._count + 1) & 0xFFFFFFFFFFFF
        return b"%b%012x" % (self._start, self._count)


def _identify(headers: Headers, ids: _Ids) -> Fields:
    """The identifying fields of the answer, from those of the request.

    Raises:
        _Unacceptable: 431, an id is too long. That one is not echoed.
    """
    found = {name: value for name, value in headers if name in _IDS}
    request_id = found.get(b"x-request-id") or ids.new()
    client = found.get(b"x-ms-client-request-id")
    legacy = found.get(b"x-ms-request-id")
    if len(request_id) > _LONGEST_ID:
        raise _Unacceptable(431, f"x-request-id must not exceed {_LONGEST_ID} characters")
    fields = [(b"x-request-id", request_id)]
    if max(len(client or b""), len(legacy or b"")) > _LONGEST_ID:
        message = (
            f"x-ms-request-id and x-ms-client-request-id must not exceed {_LONGEST_ID} characters"
        )
        raise _Unacceptable(431, message, fields)
    fields.append((b"x-ms-request-id", legacy or client or request_id))
    if client or legacy:
        fields.append((b"x-ms-client-request-id", client or legacy or b""))
    if b"traceid" in found:
        fields.append((b"traceid", found[b"traceid"]))
    return fields


def _respond(
    response: Response, ids: Fields, *, took: float | None = None, failed: bool = False
) -> Response:
    headers = response.headers
    headers += ids
    headers.append((b"x-ms-run-function-failed", b"True" if failed else b"False"))
    if took is not None:
        duration = b"%.3f" % took
        headers.append((b"x-ms-run-fn-exec-ms", duration))
        headers.append((b"server-timing", b"run;dur=" + duration))
    return response


def _user_traceback(error: BaseException) -> str:
    frames = error.__traceback__.tb_next if error.__traceback__ else None  # without ours
    return "".join(traceback.format_exception(type(error), error, frames)).rstrip()


def _log(ids: Fields, text: str) -> None:
    """One write, so that the lines of two requests never mix."""
    request_id = ascii(ids[0][1].decode("latin-1")).strip("'")
    sys.stderr.write(f"request {request_id}: {text}\n")
