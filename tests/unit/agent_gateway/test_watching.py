from __future__ import annotations

from modelyard.agent.gateway.watching import Watch


class Course:
    """A watch with a patience of 10 s, which looks every 0.25 s unless it is `away`."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.beats = {1: 7, 2: 0}
        self._watch = Watch(10.0)
        self._look()

    def goes_on(self, seconds: float, *alive: int) -> list[int]:
        """Who was found to hang meanwhile."""
        found = []
        end = self.now + seconds
        while self.now < end:
            self.now += 0.25
            for pid in alive:
                self.beats[pid] += 1
            found += self._look()
        return found

    def away(self, seconds: float) -> list[int]:
        """Everybody is frozen for so long."""
        self.now += seconds
        return self._look()

    def _look(self) -> list[int]:
        return self._watch.hung(self.now, self.beats)


def test_who_gets_on_does_not_hang() -> None:
    assert Course().goes_on(60, 1, 2) == []


def test_who_is_silent_for_longer_than_the_patience_hangs() -> None:
    course = Course()
    assert course.goes_on(10, 1) == []
    assert course.goes_on(0.25, 1) == [2]


def test_a_sign_of_life_begins_the_count_anew() -> None:
    course = Course()
    assert course.goes_on(9, 1) == []
    assert course.goes_on(0.25, 1, 2) == []
    assert course.goes_on(10, 1) == []
    assert course.goes_on(0.25, 1) == [2]


def test_time_in_which_nobody_ran_is_not_counted() -> None:
    course = Course()
    for _ in range(4):
        assert course.away(3600) == []
    assert course.goes_on(8, 1) == []
    assert course.goes_on(0.25, 1) == [2]


def test_one_that_cannot_be_ended_is_told_again_after_the_same_time() -> None:
    course = Course()
    assert course.goes_on(10.25, 1) == [2]
    assert course.goes_on(10, 1) == []
    assert course.goes_on(0.25, 1) == [2]


def test_who_came_later_has_its_own_time() -> None:
    course = Course()
    course.goes_on(8, 1, 2)
    course.beats[3] = 0
    assert course.goes_on(10, 1, 2) == []
    assert course.goes_on(0.5, 1, 2) == [3]
    del course.beats[3]
    assert course.goes_on(60, 1, 2) == []
