"""What MLflow's scoring server answers: `/invocations`, `/ping`, `/health`, `/version`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from modelyard_runtime import __version__
from modelyard_runtime.config import Config
from modelyard_runtime.entry import Entry
from modelyard_runtime.http.server import JSON, HttpError, Request, Response
from modelyard_runtime.protocols.base import Protocol, Surface, Unready
from modelyard_runtime.protocols.tables import (
    table_of_csv,
    table_of_inputs,
    table_of_instances,
    table_of_records,
    table_of_split,
)
from modelyard_runtime.signature import Arguments, Signature, Table

_FORMS: dict[str, Callable[[Any], Table]] = {
    "dataframe_split": table_of_split,
    "dataframe_records": table_of_records,
    "instances": table_of_instances,
    "inputs": table_of_inputs,
}
_CODES = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "ENDPOINT_NOT_FOUND",
    429: "REQUEST_LIMIT_EXCEEDED",
    500: "INTERNAL_ERROR",
    503: "TEMPORARILY_UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_TAKEN = "application/json or text/csv, in UTF-8"


class MlflowProtocol(Protocol):
    """Scores a table, and answers with `predictions`."""

    name = "mlflow"

    def __init__(self, signature: Signature) -> None:
        self._signature = signature

    def decode(self, request: Request) -> Arguments:
        """Arguments from the table and the `params` of a body."""
        kind = _content_type(request)
        if kind == "text/csv":
            return self._signature.from_table(table_of_csv(_text(request.body)), {})
        if kind != "application/json":
            raise HttpError(415, f"The content type must be {_TAKEN}; it is `{kind[:60]}`.")
        return self._signature.from_table(*read_json(request.body))

    def encode(self, result: Any, request: Request) -> Response:
        """`{"predictions": …}`"""
        predictions = self._signature.to_json(result)
        return Response(200, b'{"predictions":%b}' % predictions, [JSON])

    def error(self, status: int, message: str) -> Response:
        """`{"error_code": …, "message": …}`"""
        return error_response(status, message)


def routes(entry: Entry, config: Config, unready: Unready) -> Surface:
    """The paths where a replica answers this protocol."""

    def ping(request: Request) -> Response:
        reason = unready()
        return error_response(503, reason) if reason else Response(200, b"\n", [JSON])

    def version(request: Request) -> Response:
        return Response(200, __version__.encode(), [(b"content-type", b"text/plain")])

    return Surface(
        {
            "/invocations": {"POST": MlflowProtocol(entry.signature)},
            "/ping": {"GET": ping},
            "/health": {"GET": ping},
            "/version": {"GET": version},
        },
        error=error_response,
    )


def error_response(status: int, message: str) -> Response:
    """An error as this protocol tells it, which knows 400 only for data that does not fit."""
    status = 400 if status == 422 else status
    code = _CODES.get(status, "BAD_REQUEST")
    return Response(status, orjson.dumps({"error_code": code, "message": message}), [JSON])


def read_json(body: bytes) -> tuple[Table, dict[str, Any]]:
    """The table and the `params` of a JSON body.

    Raises:
        HttpError: 400
    """
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}, position {error.pos}"
        raise HttpError(400, f"The body is not JSON: {error.msg}, at {where}.") from None
    forms = [form for form in _FORMS if form in given] if type(given) is dict else []
    if len(forms) != 1:
        raise HttpError(
            400, f"The body must be a JSON object with exactly one of {', '.join(_FORMS)}."
        )
    params = given.get("params")
    if params is not None and type(params) is not dict:
        raise HttpError(400, "`params` must be an object.")
    return _FORMS[forms[0]](given[forms[0]]), params or {}


def _content_type(request: Request) -> str:
    """The media type, lower case; other charsets and parameters are refused as MLflow does."""
    kind, *parameters = request.headers.get(b"content-type", b"").decode("latin-1").split(";")
    for parameter in parameters:
        name, _, value = parameter.strip().partition("=")
        if name.lower() != "charset" or value.strip('"').lower() not in ("utf-8", "utf8"):
            raise HttpError(415, f"The content type must be {_TAKEN}, without other parameters.")
    return kind.strip().lower()


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        message = f"The body is not UTF-8: {error.reason} at byte {error.start}."
        raise HttpError(400, message) from None
