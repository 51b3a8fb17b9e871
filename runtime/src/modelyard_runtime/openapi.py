"""Describes a service as Swagger 2.0 and OpenAPI 3.0, as far as the annotations of `run` tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from modelyard_runtime.entry import Entry


def describe(entry: Entry, service: str) -> dict[str, dict[str, Any]]:
    """The documents by version: `"2"` and `"3"`."""
    schemas = {
        "ServiceInput": entry.signature.input_schema,
        "ServiceOutput": entry.signature.output_schema,
        "ErrorResponse": {"type": "object", "properties": {"message": {"type": "string"}}},
    }
    info = {"title": service, "version": "1.0"}
    return {"2": _swagger_2(info, schemas), "3": _openapi_3(info, schemas)}


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
