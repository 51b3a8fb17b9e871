from __future__ import annotations

import json

import pytest

import modelyard
from modelyard import errors
from modelyard.api.errors import STATUS
from modelyard.errors import BY_CODE, ModelyardError, from_wire


@pytest.mark.parametrize("code", BY_CODE)
def test_every_error_survives_the_wire(code: str) -> None:
    sent = BY_CODE[code]("what, which", hint="do this", details={"users": ["iris:1"]})
    received = from_wire(json.loads(json.dumps(sent.to_wire())))
    assert type(received) is type(sent)
    assert (received.message, received.hint, received.details) == (
        "what, which",
        "do this",
        {"users": ["iris:1"]},
    )


def test_codes_are_unique() -> None:
    classes = [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, ModelyardError)
    ]
    assert len({error.code for error in classes}) == len(classes)


def test_every_error_is_public() -> None:
    for error in BY_CODE.values():
        assert getattr(modelyard, error.__name__) is error
        assert error.__name__ in modelyard.__all__


def test_every_code_is_in_the_drawn_tree() -> None:
    assert errors.__doc__ is not None
    for code, error in BY_CODE.items():
        assert f" {code} " in errors.__doc__ or f" {code}\n" in errors.__doc__, code
        assert error.__name__ in errors.__doc__


def test_every_code_has_one_http_status() -> None:
    assert set(STATUS) == set(BY_CODE)


def test_an_unknown_code_is_named() -> None:
    error = from_wire({"code": "from_the_future", "message": "new"})
    assert type(error) is ModelyardError
    assert "from_the_future" in str(error)
