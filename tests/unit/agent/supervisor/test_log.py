from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.agent.supervisor.log import (
    LineLog,
    LineSplitter,
    log_file,
    log_files,
    printable,
    stamp,
)

NOW = 1_700_000_000.1234


def lines(folder: Path) -> list[str]:
    files = [log_file(folder, number) for number in log_files(folder)]
    return [line for file in files for line in file.read_text().splitlines()]


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("grün 模型", "grün 模型"),
        ("a\tb", "a\tb"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("bell\x07 null\x00", "bell\\x07 null\\x00"),
        ("right\u202eleft", "right\\u202eleft"),
        ("line\u2028separator", "line\\u2028separator"),
    ],
)
def test_what_a_terminal_obeys_is_escaped(raw: str, shown: str) -> None:
    assert printable(raw) == shown


@given(st.text())
def test_printable_text_is_one_printable_line(text: str) -> None:
    assert printable(text).replace("\t", " ").isprintable()


def test_stamp_is_utc_with_milliseconds() -> None:
    assert stamp(NOW) == "2023-11-14T22:13:20.123Z"


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([b"a\nb\n"], ["a", "b"]),
        ([b"a", b"b\n"], ["ab"]),
        ([b"a\r\nb\r", b"\nc\n"], ["a", "b", "c"]),
        ([b"10%\r20%\r", b"30%\n"], ["10%", "20%", "30%"]),
        ([b"\n\n"], ["", ""]),
        ([b"bad \xff byte\n"], ["bad \\xff byte"]),
        ([b"no end"], []),
    ],
)
def test_lines_are_cut_out_of_chunks(chunks: list[bytes], expected: list[str]) -> None:
    splitter = LineSplitter()
    assert [line for chunk in chunks for line in splitter.feed(chunk)] == expected


def test_incomplete_line_comes_at_the_end() -> None:
    splitter = LineSplitter()
    splitter.feed(b"no end")
    assert splitter.finish() == ["no end"]
    assert splitter.finish() == []


def test_long_line_is_cut_and_says_by_how_much() -> None:
    splitter = LineSplitter(longest=5)
    assert splitter.feed(b"abc") == []
    assert splitter.feed(b"defgh") == []
    assert splitter.feed(b"ij\nk\n") == ["abcde … (5 bytes cut)", "k"]


@given(st.lists(st.binary(max_size=20), max_size=8))
def test_chunk_borders_do_not_matter(chunks: list[bytes]) -> None:
    pieces, whole = LineSplitter(7), LineSplitter(7)
    found = [line for chunk in chunks for line in pieces.feed(chunk)] + pieces.finish()
    assert found == whole.feed(b"".join(chunks)) + whole.finish()


def test_log_is_whole_lines_behind_their_time(tmp_path: Path) -> None:
    log = LineLog(tmp_path / "log")
    log.feed(b"one\ntw", NOW)
    log.feed(b"o\n", NOW + 1)
    assert lines(tmp_path / "log") == [
        "2023-11-14T22:13:20.123Z one",
        "2023-11-14T22:13:21.123Z two",
    ]


def test_note_ends_the_line_before_it_and_is_no_evidence(tmp_path: Path) -> None:
    log = LineLog(tmp_path / "log")
    log.feed(b"half", NOW)
    log.note("started", NOW)
    assert [line[25:] for line in lines(tmp_path / "log")] == ["half", "[supervisor] started"]
    assert list(log.tail) == ["half"]


def test_two_files_at_most_hold_the_newest_lines(tmp_path: Path) -> None:
    log = LineLog(tmp_path / "log", largest=100)
    for number in range(40):
        log.feed(f"line {number}\n".encode(), NOW)
    numbers = log_files(tmp_path / "log")
    assert len(numbers) == 2
    assert numbers[0] > 1
    assert lines(tmp_path / "log")[-1].endswith("line 39")


def test_next_life_goes_on_behind_a_line_that_was_cut_by_a_crash(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    LineLog(folder).feed(b"one\n", NOW)
    with log_file(folder, 1).open("ab") as file:
        file.write(b"2023 half a li")
    LineLog(folder).feed(b"two\n", NOW)
    assert [line[-9:] for line in lines(folder)] == [".123Z one", "half a li", ".123Z two"]


def test_full_disk_loses_lines_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = LineLog(tmp_path / "log")
    log.feed(b"one\n", NOW)
    write = os.write
    monkeypatch.setattr(os, "write", _no_space)
    log.feed(b"two\nthree\n", NOW)
    monkeypatch.setattr(os, "write", write)
    log.feed(b"four\n", NOW)
    assert [line[25:] for line in lines(tmp_path / "log")] == [
        "one",
        "[supervisor] 2 lines lost: the disk was full",
        "four",
    ]


def _no_space(descriptor: int, data: bytes) -> int:
    raise OSError(errno.ENOSPC, "no space left on device")
