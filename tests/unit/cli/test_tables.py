from __future__ import annotations

from datetime import UTC, datetime

import pytest
from rich.cells import cell_len

from modelyard.cli import capture, output, tables
from modelyard.schemas import CapturedTable

SENTENCE = "of 100 requests twelve were answered otherwise, the first of them by the new image"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Data goes to a terminal of 100 columns."""
    monkeypatch.setattr(output, "terminal_width", lambda: 100)
    return monkeypatch


def test_what_fits_is_as_elsewhere() -> None:
    assert list(tables.fitted(("A", "B"), [("1", "2")], 10, sentence="B")) == ["A  B", "1  2"]


def test_a_sentence_wraps_in_the_last_column() -> None:
    lines = list(
        tables.fitted(("A", "WHAT"), [("1", SENTENCE), ("2", "short")], 50, sentence="WHAT")
    )
    assert lines[0] == "A  WHAT"
    assert all(len(line) <= 50 for line in lines)
    assert lines[-1] == "2  short"
    assert " ".join(line[3:] for line in lines[1:-1]) == SENTENCE
    assert {line[:3] for line in lines[2:-1]} == {"   "}


@pytest.mark.parametrize("columns", [("WHAT", "A"), ("A", "WHAT")])
def test_a_sentence_without_room_is_below_its_row(columns: tuple[str, ...]) -> None:
    wide = "x" * 30
    row = [SENTENCE if column == "WHAT" else wide for column in columns]
    title, first, *below = tables.fitted(columns, [row], 40, sentence="WHAT")
    assert (title, first) == ("A", wide)
    assert all(line.startswith("    ") and len(line) <= 40 for line in below)
    assert " ".join(line.strip() for line in below) == SENTENCE


def test_a_word_is_never_broken() -> None:
    assert tables.wrapped(f"see {'x' * 30} there", 10) == ["see", "x" * 30, "there"]


def test_titles_stand_above_each_other_before_a_line_is_too_wide() -> None:
    rows = [("1", "22222")]
    assert list(tables.fitted(("IN FLIGHT", "MEMORY"), rows, 16)) == [
        "IN FLIGHT MEMORY",
        "1         22222",
    ]
    assert list(tables.fitted(("IN FLIGHT", "MEMORY"), rows, 14)) == [
        "IN",
        "FLIGHT MEMORY",
        "1      22222",
    ]


def test_cells_are_cut_and_those_with_room_are_not() -> None:
    rows = [("1", "字" * 40, "y" * 80)]
    _, line = tables.fitted(("N", "A", "B"), rows, 40, cut={"A", "B"})
    assert cell_len(line) <= 40
    number, left, right = line.split()
    assert number == "1"
    assert left.endswith("…")
    assert right.endswith("…")
    assert abs(cell_len(left) - cell_len(right)) <= 2


def test_rows_of_very_many_columns_become_lists() -> None:
    columns = [f"column_{n}" for n in range(30)]
    rows = [["x" * 200] * 30, ["", *["y"] * 29]]
    lines = list(tables.fitted(columns, rows, 60, cut=columns))
    assert lines[0] == f"column_0   {'x' * 48}…"
    assert all(cell_len(line) <= 60 for line in lines)
    assert lines[30] == ""
    assert lines[31] == "column_1   y"


def test_times_are_short_on_a_terminal_only(
    terminal: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = datetime.now(UTC)
    before = datetime(now.year - 1, 12, 31, 23, 59, 58, tzinfo=UTC)
    rows = [[now, before, SENTENCE]]
    output.table(("AT", "SINCE", "WHAT"), rows, sentence="WHAT")
    short = capsys.readouterr().out.splitlines()
    assert short[1].startswith(f"{now:%m-%d %H:%M}  {before:%Y-%m-%d %H:%M}  of 100 requests")
    assert all(len(line) <= 100 for line in short)
    terminal.setattr(output, "terminal_width", lambda: None)
    output.table(("AT", "SINCE", "WHAT"), rows, sentence="WHAT")
    whole = capsys.readouterr().out.splitlines()
    assert whole[1] == f"{now:%Y-%m-%d %H:%M:%S}  {before:%Y-%m-%d %H:%M:%S}  {SENTENCE}"


def test_long_values_and_notes_wrap_beside_their_names(
    terminal: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output.fields([("state", "Failing"), ("cause", f"{SENTENCE}; {SENTENCE}")])
    output.table_with_notes(("N",), [((1,), (f"{SENTENCE}; {SENTENCE}",))])
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 100 for line in lines)
    assert lines[1].startswith("cause  of 100 requests")
    assert lines[2].startswith(" " * 7)
    terminal.setattr(output, "terminal_width", lambda: None)
    output.fields([("cause", f"{SENTENCE}; {SENTENCE}")])
    assert capsys.readouterr().out == f"cause  {SENTENCE}; {SENTENCE}\n"


def test_columns_with_nothing_in_them_are_hidden_and_counted(
    terminal: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [["1", None, "", 0], ["2", None, None, 3]]
    answer = CapturedTable(columns=("id", "error", "model", "n"), types=("",) * 4, rows=rows)
    capture._show_table(answer)
    shown = capsys.readouterr()
    assert shown.out == "id  n\n1   0\n2   3\n"
    assert shown.err.startswith("2 columns have nothing in these rows and are not shown")
    terminal.setattr(output, "terminal_width", lambda: None)
    capture._show_table(answer)
    assert capsys.readouterr().out.startswith("id  error  model  n\n")


def test_only_a_terminal_has_a_width(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "90")
    assert output.terminal_width() is None
    with monkeypatch.context() as patch:
        patch.setattr("sys.stdout.isatty", lambda: True)
        assert output.terminal_width() == 90


def test_what_may_be_cut_is_cut_as_far_as_it_goes_beside_what_may_not() -> None:
    titles, line = tables.fitted(("ID", "WHERE"), [("x" * 30, "y" * 30)], 35, cut={"WHERE"})
    assert titles == f"{'ID':30} WHERE"
    assert line == f"{'x' * 30} {'y' * 7}…"
