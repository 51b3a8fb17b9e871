"""The description of a service."""

from __future__ import annotations

from typing import Any, Optional

import pytest
from tests.unit.runtime.conftest import Load

from modelyard_runtime.openapi import describe, schema_of

ANYTHING: dict[str, Any] = {"type": "array", "items": {}}


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        (int, {"type": "integer"}),
        (bool, {"type": "boolean"}),
        (list, ANYTHING),
        (dict, {"type": "object"}),
        (
            list[list[float]],
            {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
        ),
        (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
        (
            dict[str, list],
            {"type": "object", "additionalProperties": ANYTHING},
        ),
        (Optional[str], {"type": "string"}),  # noqa: UP045 - scripts of that age write it so
        (str | None, {"type": "string"}),
        (int | str, {}),
        (object, {}),
        (None, {}),
        ("unresolved", {}),
    ],
)
def test_schema(annotation: Any, schema: dict[str, Any]) -> None:
    assert schema_of(annotation) == schema


def test_schema_of_a_deep_type_ends() -> None:
    annotation: Any = int
    for _ in range(100):
        annotation = list[annotation]
    assert schema_of(annotation)


def test_annotations_are_described(load_script: Load) -> None:
    entry = load_script("def run(rows: list[float]) -> dict: return {}")
    documents = describe(entry, "flowers")
    assert documents["2"]["info"]["title"] == "flowers"
    assert documents["2"]["definitions"]["ServiceInput"]["items"] == {"type": "number"}
    assert documents["3"]["components"]["schemas"]["ServiceOutput"] == {"type": "object"}
    assert documents["3"]["paths"]["/score"]["post"]["operationId"] == "RunMLService"


@pytest.mark.parametrize(
    "script",
    [
        "def run(data): return data",
        "def run(data: str): return data",
        "def run(data: bytes): return data",
        "def run(data: 'Unknown'): return data",
    ],
)
def test_what_is_not_known_is_an_object(load_script: Load, script: str) -> None:
    documents = describe(load_script(script), "flowers")
    assert documents["2"]["definitions"]["ServiceInput"] == {"type": "object", "example": {}}


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if "$ref" in node else []
        return own + [found for value in node.values() for found in references(value)]
    if isinstance(node, list):
        return [found for value in node for found in references(value)]
    return []


@pytest.mark.parametrize("version", ["2", "3"])
def test_references_lead_somewhere(load_script: Load, version: str) -> None:
    document = describe(load_script("def run(data): return data"), "flowers")[version]
    found = references(document)
    assert found
    for reference in found:
        place: Any = document
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]
