from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from modelyard.domain.rollout import Canary, Move, Rollout, in_words, next_move

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


def a_rollout(*steps: int, step_time: float | None = 600.0, **changes: object) -> Rollout:
    canary = Canary(steps=steps, step_time=step_time)
    rollout = Rollout(candidate=uuid4(), generation=2, canary=canary)
    return rollout.model_copy(update=changes)


class TestCanary:
    def test_reads_percent_and_durations(self) -> None:
        read = Canary.model_validate({"steps": ["10%", 50], "step_time": "10m"})
        assert read == Canary(steps=(10, 50), step_time=600.0)
        assert str(read) == "canary 10 %, 50 %, 10m each"
        assert str(Canary(steps=(5,))) == "canary 5 %"

    @pytest.mark.parametrize(
        "fields",
        [
            {"steps": []},
            {"steps": ["0%"]},
            {"steps": ["100%"]},
            {"steps": ["ten"]},
            {"steps": [50, 10], "step_time": 60},
            {"steps": [10, 10], "step_time": 60},
            {"steps": [10, 50]},
            {"steps": [10], "step_time": 0},
        ],
    )
    def test_refuses_nonsense(self, fields: dict[str, object]) -> None:
        with pytest.raises(ValidationError):
            Canary.model_validate(fields)


def test_time_runs_from_when_the_share_is_had() -> None:
    assert next_move(a_rollout(10), NOW) is Move.BEGIN


@pytest.mark.parametrize(
    ("step", "seconds", "move"),
    [(0, 599, Move.STAY), (0, 600, Move.GROW), (0, 9999, Move.GROW), (1, 600, Move.PROMOTE)],
)
def test_shares_follow_each_other(step: int, seconds: int, move: Move) -> None:
    rollout = a_rollout(10, 50, step=step, since=NOW)
    assert next_move(rollout, NOW + timedelta(seconds=seconds)) is move


def test_without_a_time_somebody_decides() -> None:
    rollout = a_rollout(10, step_time=None, since=NOW)
    assert next_move(rollout, NOW + timedelta(days=1000)) is Move.STAY


@given(
    st.lists(st.integers(1, 99), min_size=1, max_size=6, unique=True),
    st.floats(1, 1000),
    st.lists(st.floats(0.0, 5000.0), min_size=30, max_size=30),
)
def test_however_seldom_anybody_looks_each_share_lasts_its_time(
    steps: list[int], step_time: float, pauses: list[float]
) -> None:
    rollout, now, had = a_rollout(*sorted(steps), step_time=step_time), NOW, []
    for pause in pauses:
        match next_move(rollout, now):
            case Move.BEGIN:
                rollout = rollout.model_copy(update={"since": now})
                had.append(rollout.share)
            case Move.GROW | Move.PROMOTE as move:
                assert rollout.since is not None
                assert now - rollout.since >= timedelta(seconds=step_time)
                if move is Move.PROMOTE:
                    assert had == sorted(steps)
                    return
                rollout = rollout.model_copy(update={"step": rollout.step + 1, "since": None})
        now += timedelta(seconds=pause)
    assert had == sorted(steps)[: len(had)]


def test_a_shadow_waits_for_somebody_to_decide() -> None:
    shadow = Rollout(candidate=uuid4(), generation=2, shadow=10)
    assert (shadow.share, shadow.plan, shadow.stage) == (0, "shadow 10 %", "a shadow of 10 %")
    assert next_move(shadow, NOW) is Move.BEGIN
    begun = shadow.model_copy(update={"since": NOW})
    assert next_move(begun, NOW + timedelta(days=1000)) is Move.STAY
    assert in_words(begun, "digits:4") == (
        "digits:4 gets copies of 10 % since 2026-11-27 12:00:00 UTC, "
        "until it is promoted or taken back"
    )


def test_in_words() -> None:
    waiting = a_rollout(10, 50)
    assert in_words(waiting, "digits:4") == "digits:4 gets 10 % when its replicas are ready"
    begun = waiting.model_copy(update={"since": NOW})
    assert in_words(begun, "digits:4") == (
        "digits:4 gets 10 % since 2026-11-27 12:00:00 UTC, 50 % from 12:10:00"
    )
    last = begun.model_copy(update={"step": 1})
    assert in_words(last, "digits:4").endswith(
        "gets 50 % since 2026-11-27 12:00:00 UTC, all from 12:10:00"
    )
    alone = a_rollout(10, step_time=None, since=NOW)
    assert in_words(alone, "digits:4").endswith("until it is promoted or taken back")
