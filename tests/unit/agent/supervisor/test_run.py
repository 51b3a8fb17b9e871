from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelyard.agent.supervisor.run import Run
from modelyard.agent.supervisor.spec import Limits, Spec
from modelyard.agent.supervisor.supervise import Backoff

SPEC = Spec("digits-0", "digits", {}, [], {}, "s", "c", Limits(100 << 20, 30.0, 10.0))


class Runtime:
    """Writes status files as a runtime does."""

    def __init__(self, folder: Path) -> None:
        self.status = folder / "status.json"
        self.run = Run(4711, self.status, 0.0)

    def says(self, now: float, phase: str, **more: Any) -> Run:
        temporary = self.status.with_suffix(".new")
        temporary.write_text(json.dumps({"phase": phase, **more}))
        temporary.replace(self.status)
        self.run.look_at_status(now)
        return self.run


@pytest.fixture
def runtime(tmp_path: Path) -> Runtime:
    return Runtime(tmp_path)


def test_new_run_is_not_ready(runtime: Runtime) -> None:
    runtime.run.look_at_status(1.0)
    assert not runtime.run.ready
    assert runtime.run.phase == "starting"


def test_ready_counts_from_when_it_was_seen(runtime: Runtime) -> None:
    run = runtime.says(5.0, "ready", worker_restarts=2)
    assert run.ready_for(8.0) == 3.0
    assert run.workers_lost == 2
    assert runtime.says(9.0, "ready", worker_restarts=3).ready_for(10.0) == 5.0


def test_start_is_overdue_after_its_time(runtime: Runtime) -> None:
    run = runtime.says(1.0, "importing")
    assert not run.overdue(SPEC, 30.0)
    assert run.overdue(SPEC, 30.1)


def test_time_to_get_ready_again_begins_anew(runtime: Runtime) -> None:
    runtime.says(20.0, "ready")
    run = runtime.says(50.0, "initialising")
    assert not run.ready
    assert not run.overdue(SPEC, 79.0)
    assert run.overdue(SPEC, 81.0)


@pytest.mark.parametrize("garbage", ["", "{", "[]", "7", '{"phase": 3, "worker_restarts": "x"}'])
def test_garbage_in_the_status_changes_nothing_much(runtime: Runtime, garbage: str) -> None:
    runtime.status.write_text(garbage)
    runtime.run.look_at_status(1.0)
    assert not runtime.run.ready


def test_huge_status_is_not_read(runtime: Runtime) -> None:
    assert not runtime.says(1.0, "ready", padding="x" * (300 << 10)).ready


def test_runtimes_own_cause_counts_before_the_exit_status(runtime: Runtime) -> None:
    run = runtime.says(1.0, "failed", cause={"code": "import_failed", "message": "no"})
    cause = run.why_ended(SPEC, 3, [])
    assert cause is not None
    assert cause["code"] == "import_failed"


def test_own_cause_counts_before_a_late_start(runtime: Runtime) -> None:
    run = runtime.says(1.0, "failed", cause={"code": "import_failed", "message": "no"})
    run.ended_for = "startup"
    cause = run.why_ended(SPEC, -6, [])
    assert cause is not None
    assert cause["code"] == "import_failed"


@pytest.mark.parametrize(
    ("ended_for", "code"),
    [("memory", "out_of_memory"), ("startup", "init_hung"), (None, "killed")],
)
def test_cause_follows_from_why_it_was_ended(runtime: Runtime, ended_for: Any, code: str) -> None:
    runtime.run.ended_for = ended_for
    cause = runtime.run.why_ended(SPEC, -9, ["last"])
    assert cause is not None
    assert cause["code"] == code
    assert "last" in cause["evidence"]


def test_ordered_end_has_no_cause(runtime: Runtime) -> None:
    runtime.run.ended_for = "order"
    assert runtime.run.why_ended(SPEC, -15, []) is None


def test_backoff_doubles_up_to_its_longest_and_begins_anew_once_stable() -> None:
    backoff = Backoff(0.5, 30.0, 60.0)
    assert [backoff.after(0.0) for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert backoff.after(59.9) == 30
    assert backoff.after(60.0) == 0.5
    assert backoff.after(1.0) == 1.0


def test_spec_is_read_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text(SPEC.to_json())
    assert Spec.read(tmp_path) == SPEC
