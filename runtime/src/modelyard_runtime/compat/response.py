"""`AMLResponse`: an answer of which the script says status, headers and body itself."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from modelyard_runtime.compat.fields import HeaderFields
from modelyard_runtime.http.messages import Response

_JSON = "application/json"
_HTML = "text/html; charset=utf-8"
_FAILED = "x-ms-run-function-failed"
_STATUSES = range(200, 600)
_OURS = frozenset(
    {
        "connection",
        "content-length",
        "date",
        "keep-alive",
        "server-timing",
        "transfer-encoding",
        "upgrade",
        "x-modelyard-capture",
        "x-modelyard-deployment",
        "x-ms-client-request-id",
        "x-ms-request-id",
        "x-ms-run-fn-exec-ms",
        "x-prediction-id",
        "x-request-id",
    }
)
"""What the server says of an answer; a script's word for it would be a second one."""


class AMLResponse:
    """What a `run` returns to answer with more than JSON and 200.

    Args:
        message: Text, bytes, or an iterable of them; a generator is sent in parts as they come.
            None is answered as `{}`.
        status_code: HTTP status.
        response_headers: Header fields. A comma separates the values of a repeated one.
        json_str: Encode the message as JSON.
        run_function_failed: Say in the answer's header that `run` has failed.
    """

    def __init__(
        self,
        message: Any,
        status_code: int,
        response_headers: Mapping[str, Any] | None = None,
        json_str: bool = False,
        run_function_failed: bool = False,
    ) -> None:
        self.status_code = int(status_code)
        self.headers = HeaderFields()
        if message is None or json_str:
            message = json.dumps({} if message is None else message)
            self.headers.add("Content-Type", _JSON)
        else:
            self.headers.add("Content-Type", _HTML)
        self.response = _checked(message)
        self.headers.add(_FAILED, bool(run_function_failed))
        self._add(response_headers or {})

    @property
    def is_streamed(self) -> bool:
        """The body is sent in parts, as they come."""
        return isinstance(self.response, Iterator)

    @property
    def content_type(self) -> str:
        """The header of that name."""
        return str(self.headers.get("Content-Type", ""))

    @property
    def data(self) -> bytes:
        """The whole body; a generator is used up by it."""
        body: bytes = self.get_data()
        return body

    @data.setter
    def data(self, value: str | bytes) -> None:
        self.response = _checked(value)

    def get_data(self, as_text: bool = False) -> Any:
        """The whole body as bytes, or as text."""
        if not isinstance(self.response, bytes):
            self.response = b"".join(map(encoded, self.response))
        return self.response.decode() if as_text else self.response

    def _add(self, fields: Mapping[str, Any]) -> None:
        for name, value in fields.items():
            if name.lower() == "content-type":
                self.headers.remove(name)
            for part in str(value).split(","):
                self.headers.add(name, part.strip())


def encoded(part: str | bytes) -> bytes:
    """One part of a body as bytes."""
    return part.encode() if isinstance(part, str) else bytes(part)


def response_of(result: Any) -> Response | None:
    """The answer that a script has made itself: an `AMLResponse`, or Flask's own `Response`.

    None for any other result.

    Raises:
        ValueError: Its status is none of an answer, or a header field has characters that none has.
    """
    if isinstance(result, AMLResponse):
        body = result.response
    elif _is_werkzeug(result):
        body = result.iter_encoded() if result.is_streamed else result.get_data()
    else:
        return None
    return _response(result.status_code, list(result.headers.items()), body)


def _response(status: int, headers: list[tuple[str, str]], body: Any) -> Response:
    if status not in _STATUSES:
        raise ValueError(f"an answer has a status from 200 to 599, and not {status}")
    failed = status >= 500 or (_FAILED, "True") in headers
    kept = [pair for pair in headers if pair[0].lower() not in _OURS | {_FAILED}]
    fields = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in kept]
    fields.append((_FAILED.encode(), b"True" if failed else b"False"))
    return Response(status, body, fields)


def _checked(message: Any) -> bytes | Iterable[str | bytes]:
    """A body: its bytes, or an iterator that makes them."""
    if isinstance(message, str | bytes | bytearray | memoryview):
        return encoded(message) if isinstance(message, str) else bytes(message)
    if not isinstance(message, Iterable):
        kind = type(message).__name__
        raise TypeError(f"the body of an answer is text, bytes or an iterable, and not a {kind}")
    return message if isinstance(message, Iterator) else b"".join(map(encoded, message))


def _is_werkzeug(result: Any) -> bool:
    return any(
        base.__name__ == "Response" and base.__module__.startswith("werkzeug.")
        for base in type(result).__mro__
    )
