"""Schemas, as Swagger writes them, of samples: what `/swagger.json` says of a decorated script."""

from __future__ import annotations

import base64
import datetime
from typing import Any

Schema = dict[str, Any]


def describe(sample: Any) -> Schema:
    """The schema of a sample, which is its `example`.

    A sample that is a parameter type describes itself; an object of an unknown class is `object`.
    """
    if hasattr(sample, "input_to_swagger"):
        schema: Schema = sample.input_to_swagger()
        return schema
    if isinstance(sample, list | tuple | range):
        return describe_list(sample)
    if isinstance(sample, dict):
        return describe_dict(sample)
    if type(sample) in _SCALARS:
        return {**_SCALARS[type(sample)], "example": sample}
    text = _text(sample)
    if text is not None:
        return {"type": "string", "format": text[0], "example": text[1]}
    return {"type": "object", "example": sample}


def describe_list(sample: Any) -> Schema:
    """The schema of a list: items are as its last one."""
    schemas = [describe(item) for item in sample]
    examples = [schema.pop("example") for schema in schemas]
    items = schemas[-1] if schemas else {"type": "object"}
    return {"type": "array", "items": items, "example": examples}


def describe_dict(sample: dict[str, Any]) -> Schema:
    """The schema of a dictionary: every key of the sample is required."""
    schemas = {key: describe(value) for key, value in sample.items()}
    examples = {key: schema.pop("example") for key, schema in schemas.items()}
    return {
        "type": "object",
        "required": list(sample),
        "properties": schemas,
        "example": examples,
    }


def example_is_uniform(example: Any) -> bool:
    """Whether lists hold values of one type each; dictionaries in lists are not looked into."""
    if isinstance(example, list):
        if len({type(item) for item in example}) > 1:
            return False
        return all(example_is_uniform(item) for item in example if isinstance(item, list))
    if isinstance(example, dict):
        return all(map(example_is_uniform, example.values()))
    return True


_SCALARS: dict[type, Schema] = {
    bool: {"type": "boolean"},
    int: {"type": "integer", "format": "int64"},
    float: {"type": "number", "format": "double"},
    str: {"type": "string"},
}


def _text(sample: Any) -> tuple[str, str] | None:
    """Format and text of what JSON has no word for; a time without a zone is taken for UTC."""
    if isinstance(sample, bytes | bytearray):
        return "byte", base64.b64encode(sample).decode()
    if isinstance(sample, datetime.datetime):
        zoned = sample if sample.tzinfo else sample.replace(tzinfo=datetime.UTC)
        return "date-time", zoned.strftime("%Y-%m-%d %H:%M:%S.%f %z")
    if isinstance(sample, datetime.date):
        return "date", sample.strftime("%Y-%m-%d")
    if isinstance(sample, datetime.time):
        zoned_time = sample if sample.tzinfo else sample.replace(tzinfo=datetime.UTC)
        return "time", zoned_time.strftime("%H:%M:%S.%f %z")
    return None
