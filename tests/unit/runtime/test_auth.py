"""Keys in the replica: who gets in, and that nothing but the head is asked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard_runtime.auth import (
    OPEN_PATHS,
    Guard,
    ServiceKey,
    parse_key,
    verify_authorization,
    verify_key,
)
from modelyard_runtime.http.messages import Head
from modelyard_runtime.http.server import Headers, Response

KEY = ServiceKey("0123456789abcdef", "s" * 43)
OTHER = ServiceKey("0123456789abcdef", "t" * 43)
UNKNOWN = ServiceKey("fedcba9876543210", "s" * 43)
RIGHT = b"Bearer " + KEY.text.encode()


class Counting:
    def __init__(self) -> None:
        self.refusals = 0

    def __call__(self) -> None:
        self.refusals += 1


def head(*authorizations: bytes, path: str = "/score", method: str = "POST") -> Head:
    pairs = [(b"authorization", value) for value in authorizations]
    return Head(method, path, "", Headers([(b"host", b"h"), *pairs]))


@pytest.fixture
def refused() -> Counting:
    return Counting()


@pytest.fixture
def guard(refused: Counting) -> Guard:
    return Guard({KEY.id: KEY.hash}, refused)


def is_refused(response: Response | None) -> bool:
    return response is not None and response.status == 401


@pytest.mark.parametrize(
    "authorization", [RIGHT, RIGHT.replace(b"Bearer", b"bearer"), RIGHT.replace(b" ", b"  ")]
)
def test_who_has_the_key_gets_in(guard: Guard, refused: Counting, authorization: bytes) -> None:
    assert guard.admit(head(authorization)) is None
    assert refused.refusals == 0


@pytest.mark.parametrize(
    "authorization",
    [
        b"",
        b"Bearer",
        b"Bearer ",
        b"Basic " + KEY.text.encode(),
        KEY.text.encode(),
        b"Bearer " + OTHER.text.encode(),
        b"Bearer " + UNKNOWN.text.encode(),
        b"Bearer " + KEY.hash.encode(),
        RIGHT + b"x",
        RIGHT + b"\xff",
        b"Bearer my_" + b"0" * 16 + b"_" + b"0" * 43,
    ],
)
def test_who_has_not_does_not(guard: Guard, refused: Counting, authorization: bytes) -> None:
    response = guard.admit(head(authorization))
    assert is_refused(response)
    assert refused.refusals == 1


def test_the_refusal_says_what_to_do(guard: Guard) -> None:
    response = guard.admit(head())
    assert response is not None
    assert (b"www-authenticate", b'Bearer realm="modelyard"') in response.headers
    assert b"Authorization: Bearer" in response.body


def test_two_headers_are_nobodys_key(guard: Guard) -> None:
    assert is_refused(guard.admit(head(RIGHT, RIGHT)))


@pytest.mark.parametrize("path", sorted(OPEN_PATHS))
def test_health_is_open(guard: Guard, path: str) -> None:
    assert guard.admit(head(path=path, method="GET")) is None
    assert is_refused(guard.admit(head(path=path, method="POST")))


@pytest.mark.parametrize(
    "path", ["/score", "/metrics", "/swagger.json", "/v2/models/m/infer", "/invocations", "/none"]
)
def test_all_else_is_closed(guard: Guard, path: str) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        assert is_refused(guard.admit(head(path=path, method=method)))


def test_the_same_head_is_not_checked_again(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    once = head(RIGHT)
    assert guard.admit(once) is None
    monkeypatch.setattr(guard, "allows", lambda authorizations: pytest.fail("checked again"))
    assert guard.admit(once) is None


def test_a_refusal_is_not_remembered(guard: Guard, refused: Counting) -> None:
    wrong = head()
    assert is_refused(guard.admit(wrong))
    assert is_refused(guard.admit(wrong))
    assert refused.refusals == 2


def test_another_guard_does_not_believe_the_memo(guard: Guard) -> None:
    once = head(RIGHT)
    assert guard.admit(once) is None
    assert is_refused(Guard({UNKNOWN.id: UNKNOWN.hash}, lambda: None).admit(once))


@given(st.binary(max_size=80))
def test_whatever_is_sent_is_no_key_and_no_error(sent: bytes) -> None:
    assert not verify_authorization(sent, {KEY.id: KEY.hash})
    assert not verify_authorization(b"Bearer " + sent, {KEY.id: KEY.hash})


def test_an_unknown_id_is_compared_all_the_same() -> None:
    assert not verify_key(KEY, None)
    assert not verify_key(KEY, "0" * 64)
    assert not verify_authorization(RIGHT, {})


def test_a_key_does_not_show_its_secret() -> None:
    assert KEY.secret not in repr(KEY)
    assert parse_key(KEY.text) == KEY
