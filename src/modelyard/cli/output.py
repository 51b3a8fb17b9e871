"""What commands print: data on stdout, talk on stderr, nothing that can steer a terminal."""

from __future__ import annotations

import base64
import json
import os
import shutil
import sys
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from modelyard.cli import tables
from modelyard.errors import InvalidRequest, ModelyardError


class Format(StrEnum):
    """How data is printed."""

    TABLE = "table"
    JSON = "json"


Output = Annotated[
    Format,
    typer.Option("--output", "-o", help="Print data as `table` or `json`.", metavar="FORMAT"),
]
"""The option every command has."""

_RED, _CYAN, _PLAIN = "\x1b[1;31m", "\x1b[36m", "\x1b[0m"

_LARGE = 1e15
"""From there on a number is written with its power of ten."""

Cell = str | int | float | datetime | None


def printable(text: str) -> str:
    """The text with everything escaped that is not a visible character, a space or a tab."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode() for c in text
    )


def say(text: str, label: str = "", colour: str = "") -> None:
    """Print talk, behind a label that has a colour where colours are wanted."""
    if colour and sys.stderr.isatty() and not os.environ.get("NO_COLOR"):
        label = f"{colour}{label}{_PLAIN}"
    _write(label + _lines(text), sys.stderr)


def data(text: str) -> None:
    """Print data as it is meant for people."""
    _write(_lines(text))


def data_json(value: Any) -> None:
    """Print data for programs."""
    _write(json.dumps(value, indent=2))


def data_json_line(value: Any) -> None:
    """Print one of many data for programs, on one line."""
    _write(json.dumps(value))


def data_bytes(value: bytes) -> None:
    """Print bytes as they are; a terminal gets only what it can show."""
    if sys.stdout.isatty():
        data(value.decode(errors="replace"))
    else:
        sys.stdout.buffer.write(value)
        sys.stdout.flush()


def json_safe(value: Any) -> Any:
    """The value for JSON; bytes become an object with their base64."""
    return {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def terminal_width() -> int | None:
    """Characters of a line of the terminal that data goes to; None where it goes elsewhere."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    *,
    sentence: str | None = None,
    cut: Collection[str] = (),
) -> None:
    """Print aligned columns, which keep within a terminal; elsewhere all of a row is on its line.

    Args:
        columns: Titles.
        rows: The cells.
        sentence: Title of a column whose text goes on several lines where there is no room.
        cut: Titles of columns whose text may be cut off on a terminal.
    """
    listed = list(rows)
    width = terminal_width()
    shown = [[printable(title) for title in columns], *([cell(one) for one in r] for r in listed)]
    if width is None or tables.fits(shown, width):
        lines: Iterable[str] = tables.aligned(shown)
    else:
        brief = [[_brief(value) for value in row] for row in listed]
        lines = tables.fitted(shown[0], brief, width, sentence=sentence, cut=cut)
    for line in lines:
        _write(line)


def table_with_notes(
    columns: Sequence[str], rows: Iterable[tuple[Sequence[Cell], Sequence[str]]]
) -> None:
    """Print aligned columns, and below each row its notes, which may be longer than a column."""
    listed = list(rows)
    title, *lines = tables.aligned(
        [list(columns), *([cell(value) for value in row] for row, _ in listed)]
    )
    _write(title)
    for line, (_, notes) in zip(lines, listed, strict=True):
        _write(line)
        for note in filter(None, notes):
            for part in tables.below(printable(note), terminal_width()):
                _write(part)


def fields(pairs: Iterable[tuple[str, Cell]]) -> None:
    """Print names and values below each other; what has no value is left out."""
    shown = [(name, cell(value)) for name, value in pairs if value not in (None, "")]
    names = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        for number, line in enumerate(tables.wrapped(value, _beside(names))):
            _write(f"{'' if number else name:<{names}}  {line}")


def _beside(names: int) -> int | None:
    """Room for a value beside names."""
    width = terminal_width()
    return None if width is None else width - names - 2


def cell(value: Cell) -> str:
    """One value as it stands in a table."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    return printable(_number(value) if isinstance(value, float) else str(value))


def _brief(value: Cell) -> str:
    """The same in less room: a time of this year without the year and the seconds."""
    if not isinstance(value, datetime):
        return cell(value)
    there = value.astimezone(UTC)
    is_of_this_year = there.year == datetime.now(UTC).year
    return there.strftime("%m-%d %H:%M" if is_of_this_year else "%Y-%m-%d %H:%M")


def _number(value: float) -> str:
    """Up to six significant digits, and all that stand before the point."""
    text = f"{value:.6g}"
    return f"{value:.0f}" if "e+" in text and abs(value) < _LARGE else text


def labels(values: dict[str, str]) -> str:
    """Tags or properties as they are written on the command line."""
    return ", ".join(key if not value else f"{key}={value}" for key, value in values.items())


def write_file(path: Path, text: str) -> None:
    """Write a file that was asked for, and say so.

    Raises:
        InvalidRequest: It cannot be written.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidRequest(
            f"cannot write `{path}`: {error.strerror}", hint="name a file in a folder that exists"
        ) from error
    say(f"wrote {path}")


def report(error: ModelyardError) -> None:
    """Print an error for people: what happened, what was seen, what to do."""
    say(error.message, "error: ", _RED)
    for line in _evidence(error):
        say(f"  {line}")
    if error.hint:
        say(error.hint, "hint: ", _CYAN)


def _evidence(error: ModelyardError) -> list[str]:
    """Lines behind the message: what was seen, and who needs it unless the message says so."""
    cause = error.details.get("cause")
    evidence = cause.get("evidence", ()) if isinstance(cause, dict) else ()
    users = [str(user) for user in error.details.get("users", ())]
    return [*map(str, evidence), *(user for user in users if user not in error.message)]


def _lines(text: str) -> str:
    return "\n".join(printable(line) for line in text.split("\n"))


def _write(text: str, stream: TextIO | None = None) -> None:
    target = stream or sys.stdout
    target.write(f"{text}\n")
    target.flush()
