"""JSON Schema, as signatures write it, in the dialects of Swagger 2.0 and OpenAPI 3.0 and 3.1."""

from __future__ import annotations

from collections.abc import Callable

from modelyard_runtime.signature import JsonSchema

SWAGGER_2, OPENAPI_3_0, OPENAPI_3_1 = "2.0", "3.0", "3.1"

_IN_NEITHER = ("$schema", "$defs", "contentEncoding", "const", "examples", "propertyNames")
_ALTERNATIVES = ("anyOf", "oneOf")
_NOT_IN_2 = (*_ALTERNATIVES, "not", "nullable", "discriminator", "deprecated", "writeOnly")
_NOTHING: tuple[JsonSchema, ...] = ({"nullable": True}, {"x-nullable": True})
"""What `{"type": "null"}` has become."""


def in_dialect(schema: JsonSchema, version: str, place: str) -> JsonSchema:
    """A schema as a version writes it; what that has no word for is left out, or allows more.

    Args:
        schema: In the dialect of OpenAPI 3.1; references lead to `#/$defs/…`.
        version: One of `SWAGGER_2`, `OPENAPI_3_0`, `OPENAPI_3_1`.
        place: Where referred schemas are in the document, such as `#/components/schemas/`.
    """

    def convert(part: JsonSchema) -> JsonSchema:
        return in_dialect(part, version, place)

    if "$ref" in schema:
        return _reference(schema, version, place)
    converted = _inside(schema, convert)
    if version == OPENAPI_3_1:
        converted.pop("$defs", None)
        return converted
    return _older(converted, version)


def _reference(schema: JsonSchema, version: str, place: str) -> JsonSchema:
    """In older versions a reference stands alone."""
    reference = {"$ref": place + schema["$ref"].rpartition("/")[2]}
    beside = {key: schema[key] for key in ("default", "description", "title") if key in schema}
    if not beside:
        return reference
    return beside | (reference if version == OPENAPI_3_1 else {"allOf": [reference]})


def _inside(schema: JsonSchema, convert: Callable[[JsonSchema], JsonSchema]) -> JsonSchema:
    """The schema with the schemas inside it converted."""
    converted: JsonSchema = {}
    for key, value in schema.items():
        if key == "properties":
            converted[key] = {name: convert(member) for name, member in value.items()}
        elif key in (*_ALTERNATIVES, "allOf", "prefixItems"):
            converted[key] = [convert(part) for part in value]
        elif key in ("items", "additionalProperties", "not") and isinstance(value, dict):
            converted[key] = convert(value)
        else:
            converted[key] = value
    return converted


def _older(schema: JsonSchema, version: str) -> JsonSchema:
    """A schema for 3.0 or 2.0."""
    if "const" in schema:
        schema["enum"] = [schema["const"]]
    if schema.get("contentEncoding") == "base64":
        schema["format"] = "byte"
    schema = _without_null(_single_type(schema))
    if "prefixItems" in schema:
        del schema["prefixItems"]
        schema["items"] = {}
    if schema.get("type") == "array" and not isinstance(schema.get("items"), dict):
        schema["items"] = {}
    for bound in ("Minimum", "Maximum"):
        limit = schema.get(f"exclusive{bound}")
        if limit is not None and not isinstance(limit, bool):
            schema |= {bound.lower(): limit, f"exclusive{bound}": True}
    if None in schema.get("enum", ()):
        schema["enum"] = [value for value in schema["enum"] if value is not None]
        schema["nullable"] = True
    schema = {key: value for key, value in schema.items() if key not in _IN_NEITHER}
    return _for_swagger(schema) if version == SWAGGER_2 else schema


def _single_type(schema: JsonSchema) -> JsonSchema:
    """Several types beside each other are alternatives."""
    types = schema.get("type")
    if not isinstance(types, list):
        return schema
    rest = {key: value for key, value in schema.items() if key != "type"}
    return rest | {"anyOf": [{"type": name} for name in types]}


def _without_null(schema: JsonSchema) -> JsonSchema:
    """`null` among alternatives is a property of the others; alone it allows anything."""
    if schema.get("type") == "null":
        return {key: value for key, value in schema.items() if key != "type"} | {"nullable": True}
    for word in _ALTERNATIVES:
        parts = schema.get(word)
        if parts is None:
            continue
        nothing = [part for part in parts if part in _NOTHING]
        parts = [_with_items(part) for part in parts if part not in nothing]
        rest = {key: value for key, value in schema.items() if key != word}
        if nothing:
            rest["nullable"] = True
        if len(parts) > 1:
            return rest | {word: parts}
        (part,) = parts or [{}]
        return rest | ({"allOf": [part]} if "$ref" in part and rest else part)
    return schema


def _with_items(part: JsonSchema) -> JsonSchema:
    return part | {"items": {}} if part.get("type") == "array" and "items" not in part else part


def _for_swagger(schema: JsonSchema) -> JsonSchema:
    """2.0 knows no alternatives: anything goes, then."""
    nullable = schema.get("nullable")
    converted = {key: value for key, value in schema.items() if key not in _NOT_IN_2}
    if "default" in converted and converted["default"] is None:
        del converted["default"]
    return converted | {"x-nullable": True} if nullable else converted
