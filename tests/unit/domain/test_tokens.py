from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from modelyard.domain.tokens import LEEWAY, TokenCheck, make_token, public_key

MASTER = b"m" * 32
KEY, OTHER = "0123456789abcdef", "fedcba9876543210"
HOUR = timedelta(hours=1)


def token(
    key: str = KEY, service: str = "digits", now: datetime | None = None, lifetime: timedelta = HOUR
) -> str:
    at = now or datetime.now(UTC)
    return make_token(MASTER, key, service, "owner", at, lifetime).token


def check(service: str = "digits", *keys: str) -> TokenCheck:
    return TokenCheck(service, {key: public_key(MASTER, key) for key in keys or (KEY,)})


def forged(claims: dict[str, object], key: object, algorithm: str, kid: str = KEY) -> str:
    return jwt.encode(claims, key, algorithm, {"kid": kid})  # type: ignore[arg-type]


def claims(**changes: object) -> dict[str, object]:
    now = datetime.now(UTC)
    whole = {
        "iss": "modelyard",
        "aud": "digits",
        "sub": "owner",
        "iat": now,
        "exp": now + HOUR,
        **changes,
    }
    return {name: value for name, value in whole.items() if value is not None}


def test_a_token_is_good_until_it_ends() -> None:
    now = datetime.now(UTC)
    made = make_token(MASTER, KEY, "digits", "owner", now, HOUR)
    assert made.expires_at == now + HOUR
    assert now < made.refresh_at < made.expires_at
    assert check().good_until(made.token) == int(made.expires_at.timestamp()) + LEEWAY


def test_a_token_that_is_over_is_none() -> None:
    assert check().good_until(token(now=datetime.now(UTC) - 3 * HOUR)) == 0


def test_clocks_may_differ_a_little() -> None:
    assert check().good_until(token(now=datetime.now(UTC) + timedelta(seconds=LEEWAY / 2))) > 0
    assert check().good_until(token(now=datetime.now(UTC) + 2 * HOUR)) == 0


@pytest.mark.parametrize("checked", [check("iris"), check("digits", OTHER), TokenCheck("d", {})])
def test_a_token_is_for_one_service_and_ends_with_its_key(checked: TokenCheck) -> None:
    assert checked.good_until(token()) == 0


@pytest.mark.parametrize("missing", ["iss", "aud", "sub", "iat", "exp"])
def test_a_token_without_a_claim_is_none(missing: str) -> None:
    signing = Ed25519PrivateKey.generate()
    public = base64.b64encode(signing.public_key().public_bytes_raw()).decode()
    own = TokenCheck("digits", {KEY: public})
    assert own.good_until(forged(claims(), signing, "EdDSA")) > 0
    assert own.good_until(forged(claims(**{missing: None}), signing, "EdDSA")) == 0


def test_only_the_right_signature_counts() -> None:
    stranger = Ed25519PrivateKey.generate()
    assert check().good_until(forged(claims(), stranger, "EdDSA")) == 0
    head, _, rest = token().partition(".")
    body, _, signature = rest.partition(".")
    longer = json.loads(base64.urlsafe_b64decode(body + "=="))
    longer["exp"] += 3600
    changed = base64.urlsafe_b64encode(json.dumps(longer).encode()).decode().rstrip("=")
    assert check().good_until(f"{head}.{changed}.{signature}") == 0


def test_no_other_algorithm_is_taken() -> None:
    public = base64.b64decode(public_key(MASTER, KEY))
    assert check().good_until(forged(claims(), public, "HS256")) == 0
    assert check().good_until(forged(claims(), None, "none")) == 0


@pytest.mark.parametrize(
    "text", ["", "x", "a.b.c", "...", "é", "e30.e30.", token()[:-1], token() + "x", token()[1:]]
)
def test_what_is_no_token_is_none(text: str) -> None:
    assert check().good_until(text) == 0


def test_a_key_that_is_no_name_is_none() -> None:
    odd = jwt.encode(claims(), Ed25519PrivateKey.generate(), "EdDSA", {"kid": "\x00"})
    assert check().good_until(odd) == 0


@pytest.mark.parametrize("kid", [KEY, OTHER])
def test_a_forged_one_costs_the_same_whether_its_key_is_known_or_not(
    monkeypatch: pytest.MonkeyPatch, kid: str
) -> None:
    checked = []
    decode = jwt.decode
    monkeypatch.setattr(jwt, "decode", lambda *a, **k: checked.append(a) or decode(*a, **k))
    made = forged(claims(), Ed25519PrivateKey.generate(), "EdDSA", kid)
    assert check().good_until(made) == 0
    assert len(checked) == 1
