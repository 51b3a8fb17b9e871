"""The status file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelyard_runtime.causes import Cause
from modelyard_runtime.status import READY, StatusFile


def test_is_whole_from_the_start(tmp_path: Path) -> None:
    StatusFile(str(tmp_path / "status.json"), 12)
    assert json.loads((tmp_path / "status.json").read_text()) == {
        "phase": "starting",
        "pid": 12,
        "workers": [],
        "worker_restarts": 0,
        "cause": None,
        "last_failure": None,
    }


def test_changes_by_renaming(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    status = StatusFile(str(path), 12)
    before = path.stat().st_ino
    status.update(phase=READY, workers=[13])
    assert path.stat().st_ino != before
    assert json.loads(path.read_text())["workers"] == [13]
    assert list(tmp_path.iterdir()) == [path]


def test_is_not_written_again_without_a_change(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    status = StatusFile(str(path), 12)
    before = path.stat().st_ino
    status.update(phase="starting", workers=[])
    assert path.stat().st_ino == before


def test_without_a_path_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    StatusFile(None, 12).update(phase=READY)
    assert list(tmp_path.iterdir()) == []


def test_holds_the_cause_of_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    StatusFile(str(path), 12).fail(Cause("init_raised", "It broke.", ("line",), "Mend it."))
    written = json.loads(path.read_text())
    assert written["phase"] == "failed"
    assert written["cause"] == {
        "code": "init_raised",
        "message": "It broke.",
        "evidence": ["line"],
        "fix": "Mend it.",
    }
