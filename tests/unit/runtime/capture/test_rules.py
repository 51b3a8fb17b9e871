"""What rules take out of bodies, and which bodies they cannot be applied to."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelyard_runtime.capture.rules import Rules, Unreadable, hash_value

KEY = b"key"
RULES = Rules(["name", "home.street"], ["id"], KEY)
SEVEN = hash_value(7, KEY)


def taken(body: Any, *, is_input: bool = True) -> Any:
    return json.loads(RULES.body(json.dumps(body).encode(), is_input=is_input))


@pytest.mark.parametrize("value", [7, 7.0, "7"])
def test_the_same_value_has_the_same_hash(value: Any) -> None:
    assert hash_value(value, KEY) == SEVEN
    assert SEVEN.startswith("hmac:")
    assert hash_value(8, KEY) != SEVEN != hash_value(value, b"other")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"id": 7, "name": "x", "age": 3}, {"id": SEVEN, "age": 3}),
        ({"data": [{"id": 7}, {"id": None}]}, {"data": [{"id": SEVEN}, {"id": None}]}),
        ({"a": {"b": [{"name": {"first": 1}}]}}, {"a": {"b": [{}]}}),
        ({"id": [7, "7"], "n": [1, 2]}, {"id": [SEVEN, SEVEN], "n": [1, 2]}),
        ({"id": {"0": 7}}, {"id": {"0": SEVEN}}),
        ({"home": {"street": 1, "no": 2}, "street": 3}, {"home": {"no": 2}, "street": 3}),
        ({"home.street": 1, "my.id": 7, "myid": 7}, {"my.id": SEVEN, "myid": 7}),
        (
            {"columns": ["name", "id", "n"], "index": [0], "data": [["x", 7, 1]]},
            {"columns": ["id", "n"], "index": [0], "data": [[SEVEN, 1]]},
        ),
        (
            {"inputs": [{"name": "id", "shape": [1, 2], "data": [[7, 7]]}]},
            {"inputs": [{"name": "id", "shape": [1, 2], "data": [[SEVEN, SEVEN]]}]},
        ),
        ({"raw": ' {"id": 7}', "text": "[7 of"}, {"raw": f'{{"id":"{SEVEN}"}}', "text": "[7 of"}),
    ],
)
def test_takes_fields_out_wherever_they_have_their_name(body: Any, expected: Any) -> None:
    # A tensor's own name is `name` here, too, and goes by that rule.
    for tensor in expected.get("inputs", ()):
        tensor.pop("name")
    assert taken(body) == expected


def test_a_name_that_comes_twice_hides_nothing() -> None:
    assert RULES.body(b'{"id": 7, "id": 7, "n\\u0061me": 1}', is_input=True) == (
        b'{"id":"%b"}' % SEVEN.encode()
    )


def test_an_unnamed_tensor_of_one_column_stays() -> None:
    body = {"inputs": [{"name": "age", "shape": [2, 1], "data": [3, 4]}]}
    rules = Rules(["customer"], [], KEY)
    assert json.loads(rules.body(json.dumps(body).encode(), is_input=True)) == body


@pytest.mark.parametrize(
    "body",
    [
        b"no json",
        b"[[5.1, 7]]",
        b"[5.1, 7]",
        b'{"data": [[5.1, 7]]}',
        b'{"data": [5.1, 7]}',
        b'{"Inputs": {"data": [[7]]}}',
        b'{"inputs": [{"name": "x", "shape": [1, 2], "data": [5.1, 7]}]}',
        b'{"inputs": [{"name": "x", "data": [5.1, 7]}]}',
        b'{"columns": ["id"], "data": [[7, 8]]}',
        b'{"columns": ["id"], "data": [{"id": 7}]}',
        b'"[[5.1, 7]]"',
        b'{"a":' * 600 + b"7" + b"}" * 600,
    ],
)
def test_an_input_without_names_cannot_be_read(body: bytes) -> None:
    with pytest.raises(Unreadable):
        RULES.body(body, is_input=True)


@pytest.mark.parametrize("body", [[0, 1], [[0.1, 0.9]], {"outputs": [[1]]}, 3, None])
def test_predictions_need_no_names(body: Any) -> None:
    assert taken(body, is_input=False) == body


@pytest.mark.parametrize("body", [b'{ "a": [1, 2.5],\n "b": "x  y" }', b'{"a": "[1, 2]"}'])
def test_a_body_that_no_rule_touches_stays_as_it_came(body: bytes) -> None:
    assert RULES.body(body, is_input=False) == body


def test_the_first_value_of_a_key_that_comes_twice_is_not_kept() -> None:
    twice = b'{"a": {"name": "secret"}, "a": 1}'
    assert RULES.body(twice, is_input=False) == b'{"a":1}'
