from __future__ import annotations

from modelyard.agent.backoff import Backoff


def test_pause_doubles_up_to_the_longest() -> None:
    backoff = Backoff(0.5, 4.0)
    assert [backoff.failed(0.0) for _ in range(6)] == [0.5, 1, 2, 4, 4, 4]
    assert backoff.failures == 6


def test_due_when_the_pause_is_over() -> None:
    backoff = Backoff(0.5, 4.0)
    assert backoff.due(0.0)
    backoff.failed(10.0)
    assert not backoff.due(10.4)
    assert backoff.due(10.5)


def test_success_begins_anew() -> None:
    backoff = Backoff(0.5, 4.0)
    backoff.failed(0.0)
    backoff.failed(0.0)
    backoff.succeeded()
    assert backoff.due(0.0)
    assert backoff.failed(0.0) == 0.5


def test_many_failures_do_not_overflow() -> None:
    backoff = Backoff(0.5, 4.0)
    assert [backoff.failed(0.0) for _ in range(5000)][-1] == 4.0
