"""JSON Schema of annotations and of parameters together, in the dialect of OpenAPI 3.1."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

import msgspec

from modelyard_runtime.signature import JsonSchema


def schema_of(annotation: Any) -> JsonSchema:
    """The schema of a type, its parts below `$defs`; `{}` where nothing is known of it."""
    if annotation is type(None):
        return {}
    try:
        return msgspec.json.schema(annotation)
    except (TypeError, NotImplementedError):
        return {}


def schema_of_members(members: Mapping[str, JsonSchema], required: Set[str]) -> JsonSchema:
    """The schema of an object with these members and no other."""
    parts: JsonSchema = {}
    properties: JsonSchema = {}
    for name, schema in members.items():
        parts |= schema.get("$defs", {})
        properties[name] = {key: value for key, value in schema.items() if key != "$defs"}
    described: JsonSchema = {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }
    if required:
        described["required"] = [name for name in members if name in required]
    return described | {"$defs": parts} if parts else described
