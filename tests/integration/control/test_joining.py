"""Small files of captured records become larger ones: nothing is lost, nothing is doubled."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.captured import FILES, LATER, answers, send
from tests.factories import WORKSPACE
from tests.segments import NOON

from modelyard.capture.files import CapturedFiles
from modelyard.control import rewriting as control
from modelyard.control.captures import Captures
from modelyard.control.rewriting import Rewriting
from modelyard.domain.captured import LARGE, Segment, is_joined, joinable
from modelyard.domain.principal import Principal
from modelyard.schemas import ForgetCaptured
from modelyard.store.captured import Captured


def check(captures: Captures, agent: Principal, forgotten: int = 0) -> None:
    account = captures.account(agent, "digits")
    assert (account.missing, account.doubled, account.forgotten) == (0, 0, forgotten)


@pytest.mark.usefixtures("sealed")
def test_small_files_of_a_day_become_one(
    captures: Captures,
    rewriting: Rewriting,
    agent: Principal,
    tmp_path: Path,
    sealed: list[Segment],
) -> None:
    before = answers(captures, agent)
    check(captures, agent)
    assert rewriting.join(WORKSPACE, LATER, lambda: True) == 0  # the server is ending
    assert rewriting.join(WORKSPACE, LATER) == FILES + 1
    joined, alone = captures.segments(agent)
    assert (joined.rows, joined.requests) == (2 * FILES + 1, 2 * FILES)
    assert (joined.first, joined.last, joined.image) == (NOON, NOON, "digits:1")
    assert alone.rows == 1
    assert answers(captures, agent) == before
    check(captures, agent)
    assert rewriting.join(WORKSPACE, LATER) == 0
    for old in sealed:  # the agent may not have heard that they came in
        assert send(captures, agent, tmp_path / "host", old, 0) == len(sealed)
    assert answers(captures, agent) == before


@pytest.mark.usefixtures("sealed")
def test_what_was_joined_is_forgotten_and_expires(
    captures: Captures, rewriting: Rewriting, agent: Principal, tmp_path: Path
) -> None:
    rewriting.join(WORKSPACE, LATER)
    gone = rewriting.forget(agent, "digits", ForgetCaptured(field="id", value="x"))
    assert (gone.requests, gone.segments) == (6, 1)
    assert len(list((tmp_path / "captured").rglob("*.parquet"))) == 2
    assert not [row for row in answers(captures, agent) if row[2] == "x"]
    check(captures, agent, forgotten=6)
    rewriting.expire(WORKSPACE, NOON + timedelta(days=9), days=1, most=0)
    assert captures.segments(agent) == ()
    check(captures, agent, forgotten=6)


@pytest.mark.usefixtures("sealed")
@pytest.mark.parametrize(
    ("whose", "step"),
    [
        (control, "_joined"),
        (CapturedFiles, "replace"),
        (Captured, "join"),
        (CapturedFiles, "keep_awhile"),
        (CapturedFiles, "clear_rewritten"),
    ],
)
def test_killed_before_any_step_nothing_is_lost_or_doubled(
    captures: Captures,
    rewriting: Rewriting,
    agent: Principal,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    whose: Any,
    step: str,
) -> None:
    before = answers(captures, agent)
    real: Callable[..., Any] = getattr(whose, step)
    calls = 0

    def killed(*told: Any) -> None:
        nonlocal calls
        calls += 1
        if step == "clear_rewritten" and calls == 1:  # which begins it, too
            real(*told)
            return
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(whose, step, killed)
        with pytest.raises(KeyboardInterrupt):
            rewriting.join(WORKSPACE, LATER)
    assert answers(captures, agent) == before
    rewriting.recover(WORKSPACE)
    check(captures, agent)
    rewriting.join(WORKSPACE, LATER)
    assert len(captures.segments(agent)) == 2
    assert answers(captures, agent) == before
    rewriting.recover(WORKSPACE)
    assert len(list((tmp_path / "captured").rglob("*.parquet"))) == 2


@pytest.mark.usefixtures("sealed")
def test_what_was_forgotten_meanwhile_does_not_come_back(
    captures: Captures, rewriting: Rewriting, agent: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = joinable(captures.segments(agent), LATER)
    rewriting.forget(agent, "digits", ForgetCaptured(field="id", value="x"))
    monkeypatch.setattr(control, "joinable", lambda *_: groups)
    assert rewriting.join(WORKSPACE, LATER) == 0
    assert not [row for row in answers(captures, agent) if row[2] == "x"]
    check(captures, agent, forgotten=6)
    monkeypatch.undo()
    assert rewriting.join(WORKSPACE, LATER) == FILES + 1
    check(captures, agent, forgotten=6)


def test_a_script_cannot_have_its_file_taken_for_a_joined_one() -> None:
    digits = "0123456789abcdef" * 2
    assert is_joined(f"joined-{digits}")
    assert not is_joined(f"joined-{digits}-replica-0")  # its name, and what sealing adds


def test_which_files_are_joined(sealed: list[Segment]) -> None:
    day, (late,) = tuple(sealed[:-1]), sealed[-1:]
    assert joinable(sealed, NOON + timedelta(minutes=9)) == []
    assert joinable(sealed, NOON + timedelta(minutes=11)) == [day]
    assert joinable(day[:3], NOON + timedelta(minutes=11)) == []
    assert joinable(day[:3], LATER) == [day[:3]]
    assert joinable([late], LATER) == []
    large = [one.model_copy(update={"size": LARGE // 3}) for one in day]
    assert [len(group) for group in joinable(large, LATER)] == [3]
    assert joinable([one.model_copy(update={"size": LARGE}) for one in day], LATER) == []
