from __future__ import annotations

import pytest

from modelyard.cli import progress
from modelyard.domain.operation import LogLine


def test_one_line_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.transfer("uploading a\x1bb") as on_bytes:
        on_bytes(1, 2)
        on_bytes(2, None)
    assert capsys.readouterr().err == "uploading a\\x1bb\n"


def test_a_bar_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    with monkeypatch.context() as patch:
        patch.setattr("sys.stderr.isatty", lambda: True)
        with progress.transfer("uploading [bold]a\x07") as on_bytes:
            on_bytes(1 << 20, 2 << 20)
    shown = capsys.readouterr().err
    assert "uploading [bold]a\\x07" in shown
    assert "1.0/2.0 MiB" in shown
    assert "\x07" not in shown


def test_log_lines_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    line = LogLine(sequence=1, time="2026-03-01T12:00:00Z", source="r", text="a\x1b[2Jb")
    progress.log_line(line)
    assert capsys.readouterr().err == "  r: a\\x1b[2Jb\n"


def test_only_the_first_lines_of_a_trial_replica_are_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with progress.few_lines() as on_log:
        for source in [*["replica"] * 30, "replay"]:
            on_log(LogLine(sequence=1, time="2026-03-01T12:00:00Z", source=source, text="a"))
    shown = capsys.readouterr().err.splitlines()
    assert shown[:-1] == ["  replica: a"] * 10 + ["  replay: a"]
    assert shown[-1].startswith("  20 more lines of the replica")
