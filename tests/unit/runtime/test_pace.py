"""When calls may be made in the event loop, by times that are made up."""

from __future__ import annotations

from modelyard_runtime.lanes.pace import (
    FAST,
    FAST_TURN,
    FIRST_TRIAL,
    FORGIVEN,
    MOST_ODD,
    SLOW,
    SLOW_TURN,
    Pace,
    usage,
    used_since,
)

QUICK, LONG = FAST / 10, SLOW * 2


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def trial_of(pace: Pace) -> int:
    """Fast calls until it lets them into the loop."""
    count = 1
    while not pace.proves_fast(QUICK, QUICK):
        count += 1
    return count


def test_is_slow_until_it_has_shown_that_it_is_fast() -> None:
    assert trial_of(Pace()) == FIRST_TRIAL


def test_a_call_that_works_long_begins_anew() -> None:
    pace = Pace()
    for _ in range(FIRST_TRIAL - 1):
        assert not pace.proves_fast(QUICK, QUICK)
    assert not pace.proves_fast(LONG, LONG)
    assert trial_of(pace) == FIRST_TRIAL


def test_waiting_for_the_interpreter_now_and_then_does_not_matter() -> None:
    pace = Pace()
    calls = 0
    while not pace.proves_fast(LONG if calls % 5 == 0 else QUICK, QUICK):
        calls += 1
        assert calls < 10 * FIRST_TRIAL


def test_waiting_always_is_not_fast() -> None:
    pace = Pace()
    assert not any(pace.proves_fast(LONG, QUICK) for _ in range(1000))


def test_a_fast_call_stays() -> None:
    pace = Pace()
    assert not any(pace.proves_slow(QUICK) for _ in range(1000))


def is_found_slow(pace: Pace) -> bool:
    """Whether one slow call after another is noticed with the second."""
    return not pace.proves_slow(LONG) and pace.proves_slow(LONG, 1, (LONG, 0))


def test_one_that_seems_slow_has_the_next_ones_looked_at() -> None:
    pace = Pace()
    assert not pace.proves_slow(1000 * LONG)
    assert pace.close_looks
    assert pace.proves_slow(LONG, 1, (LONG, 0))


def test_one_that_waits_for_something_is_slow() -> None:
    pace = Pace()
    pace.proves_slow(LONG)
    assert pace.proves_slow(LONG, 1, (0.0, 1))


def test_one_that_another_process_held_up_is_not() -> None:
    pace = Pace()
    for _ in range(1000):
        assert not pace.proves_slow(100 * LONG, 1, (QUICK, 0) if pace.close_looks else None)


def test_close_looks_come_to_an_end() -> None:
    pace = Pace()
    pace.proves_slow(LONG)
    while pace.close_looks:
        assert not pace.proves_slow(QUICK, 1, (QUICK, 0))


def test_many_that_are_neither_are_slow() -> None:
    pace = Pace()
    assert not any(pace.proves_slow(2 * FAST) for _ in range(MOST_ODD))
    assert pace.close_looks
    assert pace.proves_slow(2 * FAST, 1, (2 * FAST, 0))


def test_the_trial_grows_and_is_forgiven() -> None:
    clock = Clock()
    pace = Pace(clock)
    trials = []
    for _ in range(4):
        trials.append(trial_of(pace))
        assert is_found_slow(pace)
    assert trials == [FIRST_TRIAL, FIRST_TRIAL, 2 * FIRST_TRIAL, 4 * FIRST_TRIAL]
    clock.now += FORGIVEN
    trial_of(pace)
    assert is_found_slow(pace)
    assert trial_of(pace) == FIRST_TRIAL


def test_several_requests_may_take_longer_together() -> None:
    pace = Pace()
    assert not any(pace.proves_slow(FAST_TURN * 0.9, 64) for _ in range(1000))
    assert not pace.proves_slow(SLOW_TURN, 64)
    assert pace.proves_slow(SLOW_TURN, 64, (SLOW_TURN, 0))
    assert any(pace.proves_fast(FAST_TURN * 0.9, FAST_TURN * 0.9, 64) for _ in range(FIRST_TRIAL))


def test_usage_is_that_of_this_thread() -> None:
    before = usage()
    sum(range(200_000))
    assert used_since(before)[0] >= 0
