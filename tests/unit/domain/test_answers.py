from __future__ import annotations

from typing import Any

import pytest

from modelyard.domain.answers import declared_answer, shape_of, why_unlike


@pytest.mark.parametrize(
    ("answer", "shape"),
    [
        (None, "null"),
        (True, "boolean"),
        (3, "number"),
        (3.5, "number"),
        ("a", "text"),
        ([], "[]"),
        ([1, "a"], "[number]"),
        ([[1.5], []], "[[number]]"),
        ([[[[[1]]]]], "[[[[]]]]"),
        ({}, "{}"),
        ({"b": [1], "a": {"c": 1}}, "{a: {}, b: [number]}"),
        ([{"label": "x", "inside": {"more": 1}}], "[{inside: {}, label: text}]"),
    ],
)
def test_shape(answer: Any, shape: str) -> None:
    assert shape_of(answer) == shape


def test_what_an_image_declares_of_its_answers() -> None:
    output = {"type": "object", "required": ["label"], "properties": {"label": {"type": "string"}}}
    document = {"components": {"schemas": {"ServiceOutput": output}}}
    assert declared_answer(document, {"label": 1}) == {"type": "object", "required": ["label"]}
    assert declared_answer(document, {"labels": 1}) is None
    assert declared_answer(document, None) is None
    assert declared_answer({"components": {"schemas": {"ServiceOutput": {}}}}, {}) is None
    assert declared_answer({"components": [1]}, {}) is None
    assert declared_answer("nothing", {}) is None


@pytest.mark.parametrize(
    ("answer", "schema", "reason"),
    [
        ([1], {"type": "array"}, None),
        (1.0, {"type": "integer"}, None),
        ({"label": 1, "more": 2}, {"type": "object", "required": ["label"]}, None),
        ({"more": 2}, {"type": "object", "required": ["label"]}, "it lacks `label`"),
        ("x", {"type": "array"}, "it is text, and the image declares `array`"),
        ("x", {"type": "unheard of"}, None),
        ("x", None, None),
    ],
)
def test_answers_beside_their_schema(answer: Any, schema: Any, reason: str | None) -> None:
    found = why_unlike(answer, schema)
    assert found is None if reason is None else reason in (found or "")
