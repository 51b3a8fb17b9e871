"""JSON Schema of annotations, in the dialect of OpenAPI 3.1."""

from __future__ import annotations

from typing import Any

import msgspec

from modelyard_runtime.signature import JsonSchema


def schema_of(annotation: Any) -> JsonSchema:
    """The schema of a type, its parts below `$defs`; `{}` where nothing is known of it."""
    try:
        return msgspec.json.schema(annotation)
    except (TypeError, NotImplementedError):
        return {}
