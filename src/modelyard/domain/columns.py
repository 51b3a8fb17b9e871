"""What an image declares of the rows that it scores: names and types of their values. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

from pydantic import JsonValue

from modelyard.domain.values import Value

MOST_COLUMNS = 1000
"""Of one side; a row of more values is no row of a table."""
LONGEST_NAME = 100
_DEEPEST = 8
_BESIDE = frozenset({"method", "params", "parameters", "GlobalParameters"})
"""Members of a body that say how rows are to be scored."""
_ENVELOPES = ("data", "inputs", "Inputs", "instances", "dataframe_records")


class ColumnType(StrEnum):
    """Types of typed values, as SQL calls them."""

    BOOLEAN = "BOOLEAN"
    BIGINT = "BIGINT"
    DOUBLE = "DOUBLE"
    VARCHAR = "VARCHAR"
    TIMESTAMPTZ = "TIMESTAMPTZ"


class Declared(Value):
    """What is declared of the inputs, or of the outputs."""

    named: dict[str, ColumnType | None] = {}
    """Columns in their order; None: of any type. The name of an answer that is one value is empty.
    """
    unnamed: ColumnType | None = None
    """Type of every value that has a place instead of a name."""
    closed: bool = False
    """There are no other names."""

    def type_of(self, name: str) -> ColumnType | None:
        """The type that is declared for a column; None: none is."""
        return self.named.get(name, self.unnamed if name.isdigit() or not name else None)

    def with_texts(self, fields: Iterable[str]) -> Declared:
        """The same, where fields hold texts instead: hashes."""
        texts = tuple(fields)
        named = {
            name: ColumnType.VARCHAR
            if any(name == field or name.endswith(f".{field}") for field in texts)
            else kind
            for name, kind in self.named.items()
        }
        return self.model_copy(update={"named": named})


class Columns(Value):
    """Both sides."""

    inputs: Declared = Declared()
    outputs: Declared = Declared()


def declared_columns(openapi: JsonValue) -> Columns:
    """The columns that an image's own description (OpenAPI 3) declares; of what is not, nothing."""
    schemas = _member(_member(openapi, "components"), "schemas")
    if not isinstance(schemas, Mapping):
        return Columns()
    return Columns(
        inputs=_declared(_row(schemas, schemas.get("ServiceInput"), is_input=True)),
        outputs=_declared(_row(schemas, schemas.get("ServiceOutput"), is_input=False)),
    )


def _declared(row: dict[str, Any] | None) -> Declared:
    if row is None:
        return Declared()
    members = row.get("properties")
    if isinstance(members, Mapping):
        named = {name: _type(schema) for name, schema in members.items() if _is_name(name)}
        if len(named) > MOST_COLUMNS:
            return Declared()
        return Declared(named=named, closed=row.get("additionalProperties") is False)
    inside = row.get("items") if row.get("type") == "array" else row
    return Declared(unnamed=_type(inside))


def _row(schemas: Mapping[str, Any], schema: Any, *, is_input: bool) -> dict[str, Any] | None:
    """The schema of one row, inside of the one of a whole body."""
    for _ in range(_DEEPEST):
        schema = _resolved(schemas, schema)
        if not isinstance(schema, dict):
            return None
        members = schema.get("properties")
        if schema.get("type") == "array":
            inside = _resolved(schemas, schema.get("items"))
            if not isinstance(inside, dict):
                return None
            if inside.get("type") not in ("array", "object"):
                return schema if is_input else inside
            if inside.get("type") == "array" and not _is_list(schemas, inside.get("items")):
                return inside
            schema = inside
        elif isinstance(members, dict) and (enveloped := _enveloped(schemas, members)):
            schema = enveloped
        else:
            return schema
    return None


def _enveloped(schemas: Mapping[str, Any], members: Mapping[str, Any]) -> Any:
    """The member of a body that its rows are in, or None."""
    rest = [name for name in members if name not in _BESIDE]
    wanted = [name for name in _ENVELOPES if name in members] or (rest if len(rest) == 1 else [])
    for name in wanted:
        inside = _resolved(schemas, members[name])
        if _is_list(schemas, inside) or (name in _ENVELOPES and _member(inside, "properties")):
            return inside
    return None


def _is_list(schemas: Mapping[str, Any], schema: Any) -> bool:
    return bool(_member(_resolved(schemas, schema), "type") == "array")


def _resolved(schemas: Mapping[str, Any], schema: Any) -> Any:
    """A schema instead of a reference to it, and the one that is no `null` of several."""
    for _ in range(_DEEPEST):
        if not isinstance(schema, dict):
            return None
        reference = schema.get("$ref")
        parts = schema.get("allOf") or schema.get("anyOf") or schema.get("oneOf")
        if isinstance(reference, str):
            schema = schemas.get(reference.rpartition("/")[2])
        elif isinstance(parts, list) and "type" not in schema:
            some = [part for part in parts if _member(part, "type") != "null"]
            schema = some[0] if len(some) == 1 else None
        else:
            return schema
    return None


def _type(schema: Any) -> ColumnType | None:
    kind = _member(schema, "type")
    if isinstance(kind, list):
        some = [one for one in kind if one != "null"]
        kind = some[0] if len(some) == 1 else None
    if kind == "string" and _member(schema, "format") == "date-time":
        return ColumnType.TIMESTAMPTZ
    return _TYPES.get(kind) if isinstance(kind, str) else None


_TYPES = {
    "boolean": ColumnType.BOOLEAN,
    "integer": ColumnType.BIGINT,
    "number": ColumnType.DOUBLE,
    "string": ColumnType.VARCHAR,
}


def _is_name(name: str) -> bool:
    return 0 < len(name) <= LONGEST_NAME


def _member(place: Any, name: str) -> Any:
    return place.get(name) if isinstance(place, Mapping) else None
