from __future__ import annotations

import pytest

from modelyard.agent.gateway.retrying import RetryBudget, is_repeatable
from modelyard_runtime.http.server import Head, Headers


def spent(budget: RetryBudget, most: int = 10_000) -> int:
    return next((number for number in range(most) if not budget.spend()), most)


@pytest.mark.parametrize(
    ("method", "fields", "repeatable"),
    [
        ("GET", [], True),
        ("HEAD", [], True),
        ("PUT", [], True),
        ("POST", [], False),
        ("PATCH", [], False),
        ("POST", [(b"idempotency-key", b"5d2f")], True),
        ("POST", [(b"x-idempotency-key", b"5d2f")], False),
    ],
)
def test_what_may_run_twice(
    method: str, fields: list[tuple[bytes, bytes]], repeatable: bool
) -> None:
    assert is_repeatable(Head(method, "/", "", Headers(fields), length=0)) is repeatable


def test_few_requests_have_a_few_retries() -> None:
    budget = RetryBudget()
    budget.asked = 3
    assert spent(budget) == 10


def test_many_have_a_fifth_of_their_number() -> None:
    budget = RetryBudget()
    budget.asked = 1000
    assert spent(budget) == 200
    budget.asked += 100
    assert spent(budget) == 20


def test_what_was_long_ago_counts_no_more() -> None:
    budget = RetryBudget()
    budget.look(0.0)
    budget.asked = 1000
    assert spent(budget) == 200
    budget.look(4.9)
    assert spent(budget) == 0
    budget.look(5.0)
    assert spent(budget) == 0  # it is recent still
    budget.look(10.0)
    assert spent(budget) == 10
