from __future__ import annotations

from tests.unit.agent_gateway.clock import ManualLoop

from modelyard.agent.gateway.deadlines import Deadlines


def test_what_stays_too_long_expires_in_order() -> None:
    loop, expired = ManualLoop(), []
    deadlines = Deadlines(10.0, expired.append, loop)
    deadlines.add("a")
    loop.advance(4)
    deadlines.add("b")
    loop.advance(5.9)
    assert expired == []
    loop.advance(0.2)
    assert expired == ["a"]
    loop.advance(4)
    assert expired == ["a", "b"]


def test_what_is_done_in_time_does_not_expire() -> None:
    loop, expired = ManualLoop(), []
    deadlines = Deadlines(10.0, expired.append, loop)
    deadlines.add("a")
    deadlines.add("b")
    deadlines.discard("a")
    deadlines.discard("never added")
    loop.advance(20)
    assert expired == ["b"]


def test_time_starts_anew_for_what_is_added_again() -> None:
    loop, expired = ManualLoop(), []
    deadlines = Deadlines(10.0, expired.append, loop)
    deadlines.add("a")
    loop.advance(9)
    deadlines.discard("a")
    deadlines.add("a")
    loop.advance(9)
    assert expired == []
    loop.advance(1)
    assert expired == ["a"]


def test_one_timer_serves_all() -> None:
    loop = ManualLoop()
    deadlines = Deadlines(10.0, lambda item: None, loop)
    for number in range(100):
        deadlines.add(number)
        deadlines.discard(number)
    assert loop.timers == 1


def test_expiring_may_add_more() -> None:
    loop, expired = ManualLoop(), []
    deadlines: Deadlines[str]

    def expire(item: str) -> None:
        expired.append(item)
        if item == "a":
            deadlines.add("b")

    deadlines = Deadlines(1.0, expire, loop)
    deadlines.add("a")
    loop.advance(1)
    loop.advance(1)
    assert expired == ["a", "b"]
