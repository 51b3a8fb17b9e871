"""The bytes that bodies at one server may need together."""

from __future__ import annotations

import pytest

from modelyard_runtime.http.budget import Budget, Holding
from modelyard_runtime.http.messages import Refused


def test_is_taken_by_what_comes_not_by_what_is_announced() -> None:
    budget = Budget(100)
    Holding(budget).begin(100, 1000)
    second = Holding(budget)
    second.begin(100, 1000)
    second.add(100)
    assert budget.left == 0


def test_what_is_announced_must_have_room() -> None:
    budget = Budget(100)
    with pytest.raises(Refused) as refused:
        Holding(budget).begin(101, 1000)
    assert refused.value.status == 503
    assert budget.left == 100


def test_what_comes_must_have_room() -> None:
    holding = Holding(Budget(100))
    holding.begin(0, 1000)
    holding.add(60)
    with pytest.raises(Refused):
        holding.add(41)
    holding.add(40)


def test_a_body_of_which_less_is_kept_needs_less() -> None:
    budget = Budget(100)
    holding = Holding(budget)
    holding.begin(1000, 70)
    for _ in range(10):
        holding.add(30)
    assert budget.left == 30


def test_room_is_there_again_when_the_request_is_answered() -> None:
    budget = Budget(100)
    holding = Holding(budget)
    holding.begin(60, 1000)
    holding.add(60)
    holding.settle()
    assert budget.left == 40
    holding.end()
    holding.begin(30, 1000)
    holding.add(30)
    holding.settle()
    assert budget.left == 70
    holding.release()
    assert budget.left == 100
