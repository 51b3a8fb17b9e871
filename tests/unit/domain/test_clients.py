from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from modelyard.domain.clients import ClientName, allowing, names_of

NAME: TypeAdapter[str] = TypeAdapter(ClientName)


def lets_in(pattern: str, kind: str, name: str) -> bool:
    allows = allowing([NAME.validate_python(pattern)])
    return any(map(allows, names_of([(kind, name)])))


@pytest.mark.parametrize(
    ("pattern", "kind", "name"),
    [
        ("uri:spiffe://example.org/billing", "URI", "spiffe://example.org/billing"),
        ("uri:spiffe://example.org/*", "URI", "spiffe://example.org/billing"),
        ("dns:billing.example.org", "DNS", "billing.example.org"),
        ("dns:Billing.example.org", "DNS", "billing.EXAMPLE.org"),
        ("dns:*.example.org", "DNS", "billing.example.org"),
        ("email:ops@Example.org", "email", "ops@example.org"),
        ("email:*@example.org", "email", "ops@example.org"),
    ],
)
def test_a_name_in_the_list_is_let_in(pattern: str, kind: str, name: str) -> None:
    assert lets_in(pattern, kind, name)


@pytest.mark.parametrize(
    ("pattern", "kind", "name"),
    [
        ("uri:spiffe://example.org/billing", "URI", "spiffe://example.org/Billing"),
        ("uri:spiffe://example.org/billing", "URI", "spiffe://example.org/billing/more"),
        ("uri:spiffe://example.org/*", "URI", "spiffe://example.org/"),
        ("uri:spiffe://example.org/*", "URI", "spiffe://example.org/a/b"),
        ("uri:spiffe://example.org/*", "URI", "spiffe://example.org/a?b"),
        ("uri:spiffe://example.org/*", "URI", "spiffe://example.org/*"),
        ("uri:spiffe://example.org/*", "URI", "spiffe://exampleXorg/a"),
        ("uri:spiffe://example.org/*", "DNS", "spiffe://example.org/a"),
        ("dns:*.example.org", "DNS", "example.org"),
        ("dns:*.example.org", "DNS", "a.b.example.org"),
        ("dns:*.example.org", "DNS", "*.example.org"),
        ("dns:a.example.org", "DNS", "*.example.org"),
        ("dns:a.example.org", "DNS", "a.example.org.evil.org"),
        ("dns:a.example.org", "DNS", "a.example.org\n"),
        ("email:*@example.org", "email", "a@b@example.org"),
        ("email:ops@example.org", "email", "OPS@example.org"),
        ("dns:ops", "commonName", "ops"),
        ("dns:127.0.0.1", "IP Address", "127.0.0.1"),
    ],
)
def test_no_other_name_is(pattern: str, kind: str, name: str) -> None:
    assert not lets_in(pattern, kind, name)


@pytest.mark.parametrize(
    "pattern",
    [
        "billing",
        "cn:billing",
        "dns:",
        "dns:*",
        "*",
        "uri:*",
        "uri:spiffe://*/billing",
        "uri:spiffe://example.org/bill*",
        "uri:spiffe://example.org/*/*",
        "dns:a*.example.org",
        "dns:*.*.org",
        "email:*@*",
        "email:o*@example.org",
        "dns:a b",
        "dns:" + "a" * 600,
    ],
)
def test_a_pattern_that_may_mean_too_much_is_refused(pattern: str) -> None:
    with pytest.raises(ValidationError):
        NAME.validate_python(pattern)


def test_nobody_is_let_in_by_an_empty_list() -> None:
    assert not allowing(())("dns:a")
