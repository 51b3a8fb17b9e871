from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.domain import keys

MASTER = b"m" * 32


def test_a_key_is_derived_again_and_again() -> None:
    key_id = keys.new_key_id()
    assert keys.make_key(MASTER, key_id) == keys.make_key(MASTER, key_id)


def test_another_id_or_another_master_gives_another_secret() -> None:
    one = keys.derive_secret(MASTER, "0123456789abcdef")
    assert one != keys.derive_secret(MASTER, "0123456789abcdee")
    assert one != keys.derive_secret(b"n" * 32, "0123456789abcdef")


def test_ids_are_not_repeated() -> None:
    assert len({keys.new_key_id() for _ in range(1000)}) == 1000


@given(st.binary(min_size=32, max_size=32))
def test_a_written_key_is_read_back(master: bytes) -> None:
    key = keys.make_key(master, keys.new_key_id())
    assert keys.parse_key(key.text) == key
    assert keys.verify_key(key, key.hash)


def test_the_hash_is_the_documented_one() -> None:
    key = keys.make_key(MASTER, "0123456789abcdef")
    expected = hmac.new(b"0123456789abcdef", key.secret.encode(), hashlib.sha256).hexdigest()
    assert key.hash == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "my_",
        "my_0123456789abcdef",
        "my_0123456789abcdef_",
        "my_0123456789abcdef_short",
        "my_0123456789ABCDEF_" + "a" * 43,
        "my_0123456789abcdef_" + "a" * 43 + "\n",
        "my_0123456789abcdef_" + "a" * 42 + "_",
        "my_0123456789abcdef_" + "a" * 42 + "\u0661",
        "my_0123456789abcdef_" + "a" * 65,
        "yo_0123456789abcdef_" + "a" * 43,
        " my_0123456789abcdef_" + "a" * 43,
    ],
)
def test_what_is_not_a_key_is_not_read(text: str) -> None:
    assert keys.parse_key(text) is None


def test_a_wrong_secret_and_an_unknown_id_are_refused() -> None:
    key = keys.make_key(MASTER, "0123456789abcdef")
    wrong = key._replace(secret="a" * 43)
    assert not keys.verify_key(wrong, key.hash)
    assert not keys.verify_key(key, None)
    assert not keys.verify_key(key, "0" * 64)


def test_the_secret_does_not_show_when_a_key_is_printed_by_accident() -> None:
    key = keys.make_key(MASTER, "0123456789abcdef")
    assert key.secret not in f"{key} {key!r}"
