"""Answers to what has gone wrong on our side; the log has why, the caller does not."""

from __future__ import annotations

import logging

from modelyard_runtime.http.messages import Head, HttpError, Response, error_response

_UNEXPECTED = "An unexpected error occurred. The log has the details."

_log = logging.getLogger("modelyard.http")


def failure(error: Exception) -> Response:
    """The answer of a handler that has raised."""
    if isinstance(error, HttpError):
        return error.response()
    _log.error("a handler failed", exc_info=error)
    return error_response(500, _UNEXPECTED)


def unsendable(head: Head, error: ValueError) -> Response:
    """The answer instead of one that HTTP has no form for."""
    _log.error("the answer to %s %s was dropped: %s", head.method, head.path, error)
    return error_response(500, _UNEXPECTED)
