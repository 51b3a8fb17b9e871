"""What follows from what was measured."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from tests.factories import make_level

from modelyard.domain.profile import (
    Goal,
    Machine,
    doubts,
    milliseconds,
    next_concurrency,
    recommend,
)

RISING = [
    make_level(1, 100),
    make_level(2, 190, 0.011),
    make_level(4, 300, 0.014),
    make_level(8, 310, 0.03),
]
"""The knee is at 4, and 8 takes more than 20 ms."""


class TestGoal:
    def test_durations_are_written_with_their_unit(self) -> None:
        assert Goal(latency="50ms").latency == 0.05

    @pytest.mark.parametrize("wrong", [{"latency": 0}, {"latency": "fast"}, {"rate": 0}])
    def test_what_cannot_be_reached_is_refused(self, wrong: dict[str, object]) -> None:
        with pytest.raises(ValidationError):
            Goal.model_validate(wrong)


class TestNextConcurrency:
    def test_it_begins_with_one_and_doubles(self) -> None:
        assert next_concurrency([], Goal(), 64) == 1
        assert next_concurrency(RISING[:2], Goal(), 64) == 4

    def test_it_ends_at_the_most(self) -> None:
        assert next_concurrency(RISING[:3], Goal(), 6) == 6
        assert next_concurrency([make_level(6, 100)], Goal(), 6) is None

    def test_without_a_goal_it_ends_when_two_levels_were_no_gain(self) -> None:
        levels = [make_level(1, 100), make_level(2, 102)]
        assert next_concurrency(levels, Goal(), 64) == 4
        assert next_concurrency([*levels, make_level(4, 104)], Goal(), 64) is None

    def test_with_a_goal_it_goes_on_until_the_goal_is_missed(self) -> None:
        flat = [make_level(1, 100), make_level(2, 100), make_level(4, 100, 0.04)]
        assert next_concurrency(flat, Goal(latency=0.05), 64) == 8
        assert next_concurrency(flat, Goal(latency=0.03), 64) is None

    def test_it_ends_when_requests_fail(self) -> None:
        assert next_concurrency([make_level(4, 100, errors=10)], Goal(), 64) is None
        assert next_concurrency([make_level(4, 100, errors=1)], Goal(), 64) == 8


class TestRecommend:
    def test_more_in_flight_than_helps_is_not_asked_for(self) -> None:
        advice = recommend(RISING, Goal(latency=60), cpu=1, cores=4)
        assert advice.max_concurrent_requests == 4

    def test_without_a_goal_the_knee_is_taken(self) -> None:
        advice = recommend(RISING, Goal(), cpu=1, cores=4)
        assert advice.replicas == 1
        assert advice.max_concurrent_requests == 4
        assert "plan it for 210 per second, 70% of that" in advice.reason

    def test_the_most_in_flight_that_keep_the_goal(self) -> None:
        advice = recommend(RISING, Goal(latency="20ms", rate=1000), cpu=1, cores=8)
        assert advice.max_concurrent_requests == 4
        assert advice.replicas == 5  # 1000 / (0.7 * 300)
        assert advice.reason == (
            "With up to 4 in flight one replica answers 95 % within 14 ms (the goal is 20 ms), "
            "at most 300 per second; at 70% of that, 1000 per second need 5 replicas."
        )

    def test_a_level_that_was_lucky_after_one_that_was_not_does_not_count(self) -> None:
        levels = [make_level(1, 100), make_level(2, 150, 0.09), make_level(4, 300, 0.01)]
        assert recommend(levels, Goal(latency=0.05), 1, 4).max_concurrent_requests == 1

    def test_more_cores_than_there_are(self) -> None:
        reason = recommend(RISING, Goal(rate=1000), cpu=2, cores=4).reason
        assert reason.endswith("which want 10 cores where this machine has 4.")

    def test_a_goal_that_one_request_misses(self) -> None:
        advice = recommend(RISING, Goal(latency="5ms", rate=10), cpu=1, cores=4)
        assert advice.replicas is None
        assert advice.max_concurrent_requests is None
        assert "within 10 ms, and the goal is 5 ms" in advice.reason

    def test_an_image_that_fails(self) -> None:
        advice = recommend([make_level(1, 10, errors=20)], Goal(), cpu=1, cores=4)
        assert advice.replicas is None
        assert advice.reason == "20 of 40 requests failed, one at a time."


class TestDoubts:
    def test_a_quiet_machine_with_a_core_to_spare_leaves_none(self) -> None:
        assert doubts(Machine(cores=4, platform="Linux", shared=False), RISING) == ()

    def test_everything_that_makes_figures_worse_is_said(self) -> None:
        busy = [make_level(1, 100, generator=0.95, others=0.5)]
        said = doubts(Machine(cores=1, platform="Linux", shared=True), busy)
        assert [text.split()[0] for text in said] == ["the", "at", "other"]
        assert "1 core " in said[0]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0001234, "0.123 ms"), (0.0142, "14.2 ms"), (1.5, "1500 ms")]
)
def test_durations_read_well(seconds: float, text: str) -> None:
    assert milliseconds(seconds) == text
