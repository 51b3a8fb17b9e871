"""Describes a service as Swagger 2.0 and OpenAPI 3.0 and 3.1: what `/swagger.json` answers."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import orjson

from modelyard_runtime.auth import OPEN_PATHS
from modelyard_runtime.config import Config
from modelyard_runtime.dialects import OPENAPI_3_0, OPENAPI_3_1, SWAGGER_2, in_dialect
from modelyard_runtime.protocols.base import Surface
from modelyard_runtime.signature import JsonSchema, Signature

Document = dict[str, Any]

_ERROR: JsonSchema = {"type": "object", "properties": {"message": {"type": "string"}}}
_FILES = {
    SWAGGER_2: ("swagger2.json", "swagger.json"),
    OPENAPI_3_0: ("swagger3.json",),
    OPENAPI_3_1: ("swagger3.1.json",),
}
_SCORE = "/score"
_WHOLE = ("application/json",)
_PARTS = ("application/x-ndjson", "text/plain", "application/octet-stream")
_OPERATIONS = {
    ("/", "get"): ("ServiceHealthCheck", "Answers as long as the service lives."),
    ("/swagger.json", "get"): ("GetSwaggerSpecification", "This document, or another version."),
    (_SCORE, "post"): ("RunMLService", "Scores what the body holds."),
    (_SCORE, "get"): ("RunMLServiceByQuery", "Scores the fields of the query."),
}


def describe(
    signature: Signature,
    surfaces: Sequence[Surface],
    service: str,
    sample: Any = None,
    streams: bool = False,
) -> dict[str, Document]:
    """The documents by version, for those versions that can say what the signature takes.

    Args:
        signature: Of what is served.
        surfaces: All paths that are answered.
        service: Its name, the title.
        sample: A body that it scores, if one is known: the example.
        streams: Answers are sent in parts, whose kind only the first one tells.
    """
    schemas = _schemas(signature, sample)
    paths = sorted(_methods_by_path(surfaces).items())
    kinds = _PARTS if streams else _WHOLE
    if streams:
        schemas["ServiceOutput"] = {}
    return {
        version: _WRITERS[version](service, schemas, paths, kinds)
        for version in _WRITERS
        if version in signature.versions
    }


def own_documents(config: Config) -> dict[str, Document]:
    """The documents that lie beside a script, by version; they are served instead of ours."""
    if config.script is None:
        return {}
    beside = os.path.dirname(os.path.join(config.code, config.script))
    found = {}
    for version, names in _FILES.items():
        for folder in (config.code, beside):
            for name in names:
                document = _read(os.path.join(folder, name))
                if document is not None:
                    found[version] = document
    return found


def _read(path: str) -> Document | None:
    try:
        with open(path, "rb") as file:
            document = orjson.loads(file.read())
    except OSError:
        return None
    except orjson.JSONDecodeError as error:
        sys.stderr.write(f"modelyard: {os.path.basename(path)} is not served: {error}\n")
        return None
    return document if isinstance(document, dict) else None


def _schemas(signature: Signature, sample: Any) -> dict[str, JsonSchema]:
    """What the document refers to, by name; still in one dialect for all versions."""
    given = dict(signature.input_schema)
    if sample is not None:
        given["example"] = sample
    answer = dict(signature.output_schema)
    parts = given.pop("$defs", {}) | answer.pop("$defs", {})
    return {**parts, "ServiceInput": given, "ServiceOutput": answer, "ErrorResponse": _ERROR}


def _methods_by_path(surfaces: Iterable[Surface]) -> dict[str, list[str]]:
    return {
        path: [method.lower() for method in answers if method in ("GET", "POST")]
        for surface in surfaces
        for path, answers in surface.paths.items()
        if path == "/" or not path.endswith("/")
    }


def _swagger_2(
    service: str,
    schemas: Mapping[str, JsonSchema],
    paths: list[tuple[str, list[str]]],
    kinds: Sequence[str],
) -> Document:
    place = "#/definitions/"

    def answer(name: str) -> Document:
        return {"schema": {"$ref": place + name}}

    body = {"name": "serviceInputPayload", "in": "body", "required": True}
    return {
        "swagger": "2.0",
        "info": _info(service),
        "basePath": "/",
        "schemes": ["http", "https"],
        "consumes": ["application/json"],
        "produces": list(dict.fromkeys((*_WHOLE, *kinds))),
        "securityDefinitions": {
            "Bearer": {"type": "apiKey", "name": "Authorization", "in": "header"}
        },
        "paths": _paths(paths, {"parameters": [body | answer("ServiceInput")]}, answer),
        "definitions": _converted(schemas, SWAGGER_2, place),
    }


def _openapi_3(
    version: str,
    written: str,
    service: str,
    schemas: Mapping[str, JsonSchema],
    paths: list[tuple[str, list[str]]],
    kinds: Sequence[str],
) -> Document:
    place = "#/components/schemas/"

    def answer(name: str) -> Document:
        sent = kinds if name == "ServiceOutput" else _WHOLE
        return {"content": {kind: {"schema": {"$ref": place + name}} for kind in sent}}

    body = {"required": True} | answer("ServiceInput")
    return {
        "openapi": written,
        "info": _info(service),
        "servers": [{"url": "/"}],
        "paths": _paths(paths, {"requestBody": body}, answer),
        "components": {
            "schemas": _converted(schemas, version, place),
            "securitySchemes": {"Bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


_WRITERS: dict[str, Callable[..., Document]] = {
    SWAGGER_2: _swagger_2,
    OPENAPI_3_0: lambda *rest: _openapi_3(OPENAPI_3_0, "3.0.3", *rest),
    OPENAPI_3_1: lambda *rest: _openapi_3(OPENAPI_3_1, "3.1.0", *rest),
}


def _info(service: str) -> dict[str, str]:
    return {"title": service, "version": "1.0"}


def _converted(
    schemas: Mapping[str, JsonSchema], version: str, place: str
) -> dict[str, JsonSchema]:
    return {name: in_dialect(schema, version, place) for name, schema in schemas.items()}


def _paths(
    paths: list[tuple[str, list[str]]], body: Document, answer: Callable[[str], Document]
) -> Document:
    return {
        path: {method: _operation(path, method, body, answer) for method in methods}
        for path, methods in paths
    }


def _operation(
    path: str, method: str, body: Document, answer: Callable[[str], Document]
) -> Document:
    words = re.sub(r"[^A-Za-z0-9]+", "_", path).strip("_")
    named = _OPERATIONS.get((path, method), (f"{method}_{words}", f"See {path} in the reference."))
    error = {"description": "The request could not be answered."} | answer("ErrorResponse")
    done: Document = {"description": "The answer."}
    operation: Document = {"operationId": named[0], "description": named[1]}
    if path == _SCORE:
        done |= answer("ServiceOutput")
        operation |= body if method == "post" else {}
    if path not in OPEN_PATHS:
        operation["security"] = [{"Bearer": []}]
    return operation | {"responses": {"200": done, "default": error}}
