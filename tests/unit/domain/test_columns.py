from __future__ import annotations

from typing import Any

import pytest

from modelyard.domain.columns import MOST_COLUMNS, Columns, Declared, declared_columns

NUMBER, INTEGER, TEXT = {"type": "number"}, {"type": "integer"}, {"type": "string"}
ROW = {"type": "object", "properties": {"age": INTEGER, "heat": NUMBER}}
NAMED = {"age": "BIGINT", "heat": "DOUBLE"}


def declared(given: Any, answer: Any = None, **others: Any) -> Columns:
    schemas = {"ServiceInput": given, "ServiceOutput": answer, **others}
    return declared_columns({"components": {"schemas": schemas}})


def rows(items: Any) -> Any:
    return {"type": "array", "items": items}


def body(**members: Any) -> Any:
    return {"type": "object", "properties": members}


class TestDeclaredColumns:
    @pytest.mark.parametrize(
        "schema",
        [
            ROW,
            rows(ROW),
            body(data=rows(ROW)),
            body(data=rows(ROW), method=TEXT),
            body(Inputs=body(data=rows(ROW)), GlobalParameters=body(method=TEXT)),
            body(passengers=rows(ROW)),
            body(data=rows({"$ref": "#/components/schemas/Row"})),
            body(data=rows({"anyOf": [{"$ref": "#/$defs/Row"}, {"type": "null"}]})),
        ],
    )
    def test_names_and_types_of_a_row(self, schema: Any) -> None:
        assert declared(schema, Row=ROW).inputs == Declared.model_validate({"named": NAMED})

    def test_types_as_schemas_write_them(self) -> None:
        row = {
            "type": "object",
            "properties": {
                "a": {"type": ["number", "null"]},
                "b": {"type": "string", "format": "date-time"},
                "c": {"type": "boolean", "nullable": True},
                "d": {"type": ["number", "string"]},
                "e": {},
            },
            "additionalProperties": False,
        }
        found = declared(rows(row)).inputs
        kinds = {"a": "DOUBLE", "b": "TIMESTAMPTZ", "c": "BOOLEAN", "d": None, "e": None}
        assert found == Declared.model_validate({"named": kinds, "closed": True})

    @pytest.mark.parametrize("schema", [rows(rows(NUMBER)), body(data=rows(rows(NUMBER)))])
    def test_values_without_names(self, schema: Any) -> None:
        found = declared(schema).inputs
        assert found.type_of("0") == "DOUBLE"
        assert found.type_of("age") is None

    @pytest.mark.parametrize(
        ("schema", "name"),
        [
            (rows(INTEGER), ""),
            (rows(rows(INTEGER)), "0"),
            (rows(body(label=INTEGER)), "label"),
            (body(result=rows(INTEGER)), ""),
        ],
    )
    def test_answers(self, schema: Any, name: str) -> None:
        assert declared(None, schema).outputs.type_of(name) == "BIGINT"

    @pytest.mark.parametrize(
        "openapi",
        [
            None,
            7,
            {},
            {"components": {"schemas": []}},
            {"components": {"schemas": {"ServiceInput": {"$ref": "#/ServiceInput"}}}},
            {"components": {"schemas": {"ServiceInput": {"type": "array", "items": 7}}}},
            {"components": {"schemas": {"ServiceInput": {"type": {}, "properties": {"a": []}}}}},
        ],
    )
    def test_what_declares_nothing(self, openapi: Any) -> None:
        found = declared_columns(openapi)
        assert all(kind is None for kind in found.inputs.named.values())
        assert found.outputs == Declared()

    def test_too_many(self) -> None:
        many = {f"c{n}": NUMBER for n in range(MOST_COLUMNS + 1)}
        assert declared(rows(body(**many))).inputs == Declared()

    def test_hashed_fields_are_texts(self) -> None:
        hashed = declared(ROW).inputs.with_texts(["age"])
        assert (hashed.type_of("age"), hashed.type_of("heat")) == ("VARCHAR", "DOUBLE")
