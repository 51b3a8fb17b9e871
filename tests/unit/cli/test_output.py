from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from tests.unit.cli.conftest import Run

from modelyard.cli import output
from modelyard.domain.values import size_text
from modelyard.errors import InUse


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain Ünïcode 数字", "plain Ünïcode 数字"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("a\nb\rc\td", "a\\nb\\rc\td"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\udc80", "\\udc80"),
        ("\u2028", "\\u2028"),
    ],
)
def test_printable(text: str, expected: str) -> None:
    assert output.printable(text) == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (5 << 30, "5.0 GiB"),
        (1 << 50, "1048576.0 GiB"),
    ],
)
def test_size(count: int, expected: str) -> None:
    assert size_text(count) == expected


def test_times_are_utc() -> None:
    zone = timezone(timedelta(hours=2))
    assert output.cell(datetime(2026, 1, 1, 1, 0, tzinfo=zone)) == "2025-12-31 23:00:00"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (985.101, "985.101"),
        (1473.4, "1473.4"),
        (0.1 + 0.2, "0.3"),
        (1e7 / 3, "3333333"),
        (2.5e20, "2.5e+20"),
        (float("nan"), "nan"),
    ],
)
def test_numbers_have_six_digits(value: float, shown: str) -> None:
    assert output.cell(value) == shown


def test_table_is_aligned_and_never_cut(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("NAME", "N"), [("x" * 200, 1), ("数字", None)])
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{'NAME'.ljust(200)}  N", f"{'x' * 200}  1", "数字"]


def test_fields_leave_out_what_is_empty(capsys: pytest.CaptureFixture[str]) -> None:
    output.fields([("model", "a\x1b"), ("none", None), ("files", 0), ("text", "")])
    assert capsys.readouterr().out == "model  a\\x1b\nfiles  0\n"


def test_json_is_ascii_without_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    output.data_json({"a": "\x9bü"})
    assert capsys.readouterr().out == '{\n  "a": "\\u009b\\u00fc"\n}\n'


def test_users_of_what_is_in_use_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    output.report(InUse("needed", details={"users": ["image a:1", "image b:2"]}))
    assert capsys.readouterr().err == "error: needed\n  image a:1\n  image b:2\n"


class TestColour:
    @pytest.fixture
    def terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("NO_COLOR", raising=False)
        monkeypatch.setattr("sys.stderr.isatty", lambda: True)

    def test_on_a_terminal(self, capsys: pytest.CaptureFixture[str], terminal: None) -> None:
        monkeypatch = pytest.MonkeyPatch()
        with monkeypatch.context() as patch:
            patch.setattr("sys.stderr.isatty", lambda: True)
            output.report(InUse("needed"))
        assert capsys.readouterr().err.startswith("\x1b[1;31merror: \x1b[0m")

    def test_not_where_it_is_unwanted(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, terminal: None
    ) -> None:
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setattr("sys.stderr.isatty", lambda: True)
        output.report(InUse("needed"))
        assert capsys.readouterr().err == "error: needed\n"

    def test_not_in_a_file(self, capsys: pytest.CaptureFixture[str]) -> None:
        output.report(InUse("needed"))
        assert capsys.readouterr().err == "error: needed\n"


@pytest.mark.parametrize(
    "words",
    [
        ("service", "drift", "digits", "--html"),
        ("replay", "digits", "--image", "digits:2", "--html"),
        ("replay", "digits", "--image", "digits:2", "--junit"),
        ("replay", "show", "00000000-0000-0000-0000-000000000001", "--junit"),
    ],
)
def test_a_file_without_a_folder_is_refused_before_anything(
    run: Run, tmp_path: Path, words: tuple[str, ...]
) -> None:
    refused = run(*words, str(tmp_path / "none" / "report"), code=2)
    assert "there is no folder" in refused.stderr
    assert words[-1] in refused.stderr


@pytest.mark.parametrize("words", [("service", "drift", "digits"), ("replay", "show", "ID")])
def test_a_page_is_not_written_into_a_file_called_dash(run: Run, words: tuple[str, ...]) -> None:
    assert "name one" in run(*words, "--html", "-", code=2).stderr
