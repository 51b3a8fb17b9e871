"""Describes a service as Swagger 2.0 and OpenAPI 3.0, as far as the annotations of `run` tell."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from typing import Any

from modelyard_runtime.loading import Entry

_SCALARS: dict[Any, dict[str, Any]] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    list: {"type": "array", "items": {}},
    tuple: {"type": "array", "items": {}},
    dict: {"type": "object"},
}
_GENERIC: dict[str, Any] = {"type": "object", "example": {}}
_DEEPEST = 16


def describe(entry: Entry, service: str) -> dict[str, dict[str, Any]]:
    """The documents by version: `"2"` and `"3"`."""
    annotations = _annotations(entry.run)
    given = schema_of(annotations.get(entry.data, str)) or _GENERIC
    answer = schema_of(annotations.get("return")) or _GENERIC
    if annotations.get(entry.data, str) in (str, bytes):
        given = _GENERIC  # the script reads the body itself: nothing is known of it
    schemas = {
        "ServiceInput": given,
        "ServiceOutput": answer,
        "ErrorResponse": {"type": "object", "properties": {"message": {"type": "string"}}},
    }
    info = {"title": service, "version": "1.0"}
    return {"2": _swagger_2(info, schemas), "3": _openapi_3(info, schemas)}


def schema_of(annotation: Any, depth: int = 0) -> dict[str, Any]:
    """The JSON Schema of a type; `{}`, which allows anything, where there is no plain one."""
    if annotation in _SCALARS:
        return dict(_SCALARS[annotation])
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if depth >= _DEEPEST or not arguments:
        return {}
    if origin in (list, tuple):
        return {"type": "array", "items": schema_of(arguments[0], depth + 1)}
    if origin is dict:
        return {"type": "object", "additionalProperties": schema_of(arguments[-1], depth + 1)}
    if origin in (typing.Union, types.UnionType):
        plain = [argument for argument in arguments if argument is not type(None)]
        return schema_of(plain[0], depth + 1) if len(plain) == 1 else {}
    return {}


def _annotations(run: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(run)
    except Exception:  # an annotation of the user's that cannot be evaluated describes nothing
        return {}


def _swagger_2(info: dict[str, str], schemas: dict[str, Any]) -> dict[str, Any]:
    def reference(name: str) -> dict[str, Any]:
        return {"schema": {"$ref": f"#/definitions/{name}"}}

    body = {"name": "serviceInputPayload", "in": "body", "required": True}
    return {
        "swagger": "2.0",
        "info": info,
        "basePath": "/",
        "schemes": ["http", "https"],
        "consumes": ["application/json"],
        "produces": ["application/json"],
        "securityDefinitions": {
            "Bearer": {"type": "apiKey", "name": "Authorization", "in": "header"}
        },
        "paths": _paths({"parameters": [body | reference("ServiceInput")]}, reference),
        "definitions": schemas,
    }


def _openapi_3(info: dict[str, str], schemas: dict[str, Any]) -> dict[str, Any]:
    def reference(name: str) -> dict[str, Any]:
        return {
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}
        }

    body = {"required": True} | reference("ServiceInput")
    return {
        "openapi": "3.0.3",
        "info": info,
        "servers": [{"url": "/"}],
        "paths": _paths({"requestBody": body}, reference),
        "components": {
            "schemas": schemas,
            "securitySchemes": {"Bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _paths(body: dict[str, Any], reference: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    error = {"description": "The request could not be answered."} | reference("ErrorResponse")
    scored = {"description": "The answer of the scoring script."} | reference("ServiceOutput")
    return {
        "/": {
            "get": {
                "operationId": "ServiceHealthCheck",
                "description": "Answers as long as the service lives.",
                "responses": {"200": {"description": "`Healthy`"}},
            }
        },
        "/score": {
            "post": {
                "operationId": "RunMLService",
                "description": "Scores what the body holds.",
                "security": [{"Bearer": []}],
                "responses": {"200": scored, "default": error},
                **body,
            }
        },
    }
