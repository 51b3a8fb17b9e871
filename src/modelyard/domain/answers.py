"""What answers look like: their shape, told cheaply, and what an image declares of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue

_DEEPEST = 3
_OUTPUT = "ServiceOutput"


def shape_of(answer: Any) -> str:
    """The shape of a JSON value: `{label: text, scores: [number]}`.

    Of an object the names and kinds of its members, of a list its first element; nothing of objects
    further inside. Equal shapes are equal texts.
    """
    return _shape(answer, _DEEPEST, members=True)


def _shape(answer: Any, depth: int, *, members: bool) -> str:
    match answer:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "text"
        case list():
            inside = _shape(answer[0], depth - 1, members=members) if answer and depth else ""
            return f"[{inside}]"
        case dict() if members:
            parts = (
                f"{key}: {_shape(answer[key], depth, members=False)}" for key in sorted(answer)
            )
            return "{" + ", ".join(parts) + "}"
        case _:
            return "{}"


def declared_answer(openapi: JsonValue, example: JsonValue) -> JsonValue:
    """The schema of an image's answers, from its own description; null where nothing is known.

    Descriptions may be loose or wrong, as Azure ML's `object` for whatever it is: one that does not
    fit the answer to the image's own sample says nothing.

    Args:
        openapi: The description, in OpenAPI 3.
        example: That answer.
    """
    place: Any = openapi
    for name in ("components", "schemas", _OUTPUT):
        place = place.get(name) if isinstance(place, Mapping) else None
    if not isinstance(place, dict) or not isinstance(place.get("type"), str):
        return None
    schema = {name: place[name] for name in ("type", "required") if name in place}
    return schema if why_unlike(example, schema) is None else None


_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "number": (int, float),
    "integer": (int, float),
    "boolean": bool,
    "null": type(None),
}


def why_unlike(answer: JsonValue, schema: JsonValue) -> str | None:
    """Why an answer is not what its image declares (`declared_answer`), or None."""
    if not isinstance(schema, dict):
        return None
    wanted = schema.get("type")
    types = _TYPES.get(wanted) if isinstance(wanted, str) else None
    if types is not None and not isinstance(answer, types):
        return f"it is {shape_of(answer)}, and the image declares `{wanted}`"
    required = schema.get("required")
    if isinstance(answer, dict) and isinstance(required, list):
        missing = [name for name in required if isinstance(name, str) and name not in answer]
        if missing:
            return f"it lacks `{missing[0][:100]}`, which the image declares"
    return None
