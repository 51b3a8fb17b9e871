"""The description of a service."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.runtime.conftest import Load

from modelyard_runtime.openapi import describe


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
