from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from modelyard.agent.gateway import status as status_module
from modelyard.agent.gateway.status import (
    GatewayStatus,
    RefusedRequests,
    StatusFile,
    read_status,
)

STATUS = GatewayStatus(pid=1, started_at="2026-01-01T00:00:00+00:00", config_version=1)


def refusing(count: int) -> GatewayStatus:
    return replace(STATUS, refused={"digits": RefusedRequests(count, "2026-01-01", None)})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "status.json"


def test_what_was_published_is_read(path: Path) -> None:
    full = replace(
        refusing(3),
        url="http://127.0.0.1:7880",
        config_error="damaged",
        cause={"code": "port_taken", "message": "", "evidence": [], "fix": ""},
        draining={"r1": 2},
    )
    StatusFile(path).publish(full, now=0.0)
    assert read_status(path) == full


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"refused": {"a": {"b": 1}}}', "\x00"])
def test_what_cannot_be_read_is_none(path: Path, text: str) -> None:
    assert read_status(path) is None
    path.write_text(text)
    assert read_status(path) is None


def test_only_changes_are_written(path: Path) -> None:
    file = StatusFile(path)
    file.publish(STATUS, now=0.0)
    before = path.stat().st_ino
    file.publish(STATUS, now=5.0)
    assert path.stat().st_ino == before


def test_refusals_are_written_once_a_second_and_the_rest_at_once(path: Path) -> None:
    file = StatusFile(path)
    file.publish(refusing(1), now=10.0)
    file.publish(refusing(2), now=10.5)
    assert read_status(path) == refusing(1)
    file.publish(refusing(3), now=11.0)
    assert read_status(path) == refusing(3)
    changed = replace(refusing(4), config_version=2)
    file.publish(changed, now=11.1)
    assert read_status(path) == changed


def test_a_full_disk_is_tried_again_but_not_at_every_look(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = []

    def full(*_: object, **__: object) -> None:
        attempts.append(1)
        raise OSError(28, "No space left on device")

    file = StatusFile(path)
    with monkeypatch.context() as patch:
        patch.setattr(status_module, "replace_file", full)
        for step in range(20):
            file.publish(STATUS, now=step * 0.1)
    assert len(attempts) == 2
    file.publish(STATUS, now=5.0)
    assert read_status(path) == STATUS
