"""From an error's code to an HTTP status: one table, one body."""

from __future__ import annotations

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException

from modelyard.domain.validation import explain
from modelyard.errors import InvalidRequest, ModelyardError, NotFound

STATUS = {
    "internal": 500,
    "invalid_request": 400,
    "invalid_script": 400,
    "unauthenticated": 401,
    "permission_denied": 403,
    "not_found": 404,
    "conflict": 409,
    "in_use": 409,
    "insufficient_storage": 507,
    "unavailable": 503,
    "server_unreachable": 502,
    "integrity": 422,
    "operation_failed": 422,
    "build_failed": 422,
    "deploy_failed": 422,
    "replay_failed": 409,
    "operation_timed_out": 504,
    "scoring_failed": 502,
}
"""The HTTP status of every error code."""

_logger = logging.getLogger("modelyard.api")


def response(error: ModelyardError) -> JSONResponse:
    """The error as it goes over the wire."""
    headers = {"Retry-After": "1"} if STATUS[error.code] == 503 else {}
    if STATUS[error.code] == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(error.to_wire(), STATUS[error.code], headers)


def install(app: FastAPI) -> None:
    """Answer every exception with a body of ours."""

    @app.exception_handler(ModelyardError)
    def _ours(request: Request, error: ModelyardError) -> JSONResponse:
        del request
        return response(error)

    @app.exception_handler(RequestValidationError)
    def _validation(request: Request, error: RequestValidationError) -> JSONResponse:
        del request
        # The first part of a place only says `body` or `query`.
        found: list[ErrorDetails] = [
            {**problem, "loc": problem["loc"][1:]}  # type: ignore[typeddict-item]
            for problem in error.errors()
        ]
        return response(explain(found, "the request"))

    @app.exception_handler(HTTPException)
    def _http(request: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == 404:
            return response(
                NotFound(
                    f"there is no `{request.url.path[:200]}` here",
                    hint="the REST interface begins with /api/v1",
                )
            )
        problem = InvalidRequest(str(error.detail), hint="see the reference of the REST interface")
        return JSONResponse(problem.to_wire(), error.status_code, error.headers)

    @app.exception_handler(Exception)
    def _bug(request: Request, error: Exception) -> JSONResponse:
        _logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return response(
            ModelyardError(
                "the server met an unexpected error",
                hint="its log (server.log in the home folder) has the details; please report it",
            )
        )
