"""Values that hosts encrypt and only the server can read."""

from __future__ import annotations

import json
import math
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from modelyard.capture import encrypting
from modelyard.capture.encrypting import (
    ENCRYPTED,
    Decryption,
    EncryptingRules,
    Encryption,
    Undecipherable,
    public_key,
)
from modelyard_runtime.capture.rules import hash_value

PRIVATE, OTHER, KEY = b"1" * 32, b"2" * 32, b"key"
PUBLIC = public_key(PRIVATE)
HOST, SERVER = Encryption(PUBLIC), Decryption(PRIVATE)
RULES = EncryptingRules(["secret"], ["id"], KEY, ["name", "customer.age", "id"], PUBLIC)

values = (
    some.booleans()
    | some.integers(-(1 << 63), (1 << 63) - 1)
    | some.floats(allow_nan=False, allow_infinity=False)
    | some.text()
)


def document_of(body: Any) -> str:
    return RULES.body(json.dumps(body).encode(), is_input=True).decode()


@given(values)
def test_a_value_comes_back_as_it_was_and_of_its_type(value: Any) -> None:
    text = HOST.encrypt(value)
    again = SERVER.decrypt(text)
    assert again == value
    assert type(again) is type(value)
    assert HOST.encrypt(value) != text


@given(values, some.data())
def test_text_that_was_changed_is_refused(value: Any, data: some.DataObject) -> None:
    content = bytearray(urlsafe_b64decode(HOST.encrypt(value).removeprefix(ENCRYPTED)))
    place = data.draw(some.integers(0, len(content) * 8 - 1))
    content[place // 8] ^= 1 << place % 8
    with pytest.raises(Undecipherable):
        SERVER.decrypt(ENCRYPTED + urlsafe_b64encode(bytes(content)).decode())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("seven", "is no encrypted value"),
        (ENCRYPTED, "is no encrypted value"),
        (f"{ENCRYPTED}é", "is no encrypted value"),
        (f"{ENCRYPTED}{'A' * 60}", "is no encrypted value"),
        (Encryption(public_key(OTHER)).encrypt(7), "for another key"),
        (HOST.encrypt(7)[:-4] + "AAAA", "was changed after"),
    ],
)
def test_what_cannot_be_read_says_why(text: str, why: str) -> None:
    with pytest.raises(Undecipherable, match=why):
        SERVER.decrypt(text)


def test_what_is_no_json_inside_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encrypting.orjson, "dumps", lambda value: value)
    text = Encryption(PUBLIC).encrypt(b"no JSON")
    with pytest.raises(Undecipherable, match="was changed after"):
        SERVER.decrypt(text)


def test_length_tells_little() -> None:
    assert len({len(HOST.encrypt(value)) for value in (True, False, 7, -1234.5, "x" * 20)}) == 1


def test_a_host_uses_another_key_pair_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(encrypting.time, "monotonic", lambda: now)
    host = Encryption(PUBLIC)
    texts = [host.encrypt(7), host.encrypt(7)]
    now += 601
    texts.append(host.encrypt(7))
    pairs = [urlsafe_b64decode(text.removeprefix(ENCRYPTED))[4:36] for text in texts]
    assert pairs[0] == pairs[1] != pairs[2]
    assert [SERVER.decrypt(text) for text in texts] == [7, 7, 7]


@pytest.mark.parametrize(
    "body",
    [
        {"customer": {"age": 41, "town": "Ulm"}, "name": ["Ann", {"first": "Bo"}], "age": 3},
        {"data": [{"name": "Ann", "age": 3}, {"name": None}]},
        {"columns": ["name", "age"], "data": [["Ann", 3], ["Bo", 4]]},
        {"inputs": [{"name": "name", "shape": [2], "data": [1.5, 2]}]},
    ],
)
def test_fields_are_encrypted_where_they_stand(body: Any) -> None:
    document = document_of(body)
    assert ENCRYPTED in document
    clear = ('"age":41,', '"Ann"', '"Bo"', "1.5")  # none of which base64 can be
    assert not any(plain in document for plain in clear)
    again = json.loads(SERVER.decrypt_document(document))
    if "inputs" in body:  # a tensor has its own name in a field of that name
        assert again["inputs"][0]["data"] == [1.5, 2]
    else:
        assert again == body


def test_the_stricter_rule_counts() -> None:
    assert json.loads(document_of({"id": 7, "secret": 1, "age": 3})) == {
        "id": hash_value(7, KEY),
        "age": 3,
    }


def test_one_value_is_a_document_too() -> None:
    assert SERVER.decrypt_document(HOST.encrypt(7)) == "7"
    assert SERVER.decrypt_document("Ulm") == '"Ulm"'
    assert json.loads(SERVER.decrypt_document(json.dumps([HOST.encrypt("Ulm")]))) == ["Ulm"]
    assert math.isclose(json.loads(SERVER.decrypt_document(HOST.encrypt(0.1))), 0.1)
