"""What is shown on stderr while something takes its time: bars on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from modelyard.cli import output
from modelyard.client.operations import OnLog
from modelyard.client.transfer import Progress as OnBytes
from modelyard.domain.operation import TRIAL_REPLICA, LogLine

_MOST_LINES = 10
"""Lines of a replica that a replay shows: a script prints some for each request."""


@contextmanager
def transfer(what: str) -> Iterator[OnBytes]:
    """Show how many bytes of `what` were moved; gives the callback for the SDK."""
    if not sys.stderr.isatty():
        output.say(what)
        yield _silent
        return
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task: TaskID = bar.add_task(output.printable(what), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
    output.say(what)


def _silent(done: int, total: int | None) -> None:
    del done, total


def log_line(line: LogLine) -> None:
    """Show one line of an operation's log."""
    output.say(f"  {line.source}: {line.text}" if line.source else f"  {line.text}")


@contextmanager
def few_lines() -> Iterator[OnLog]:
    """Show an operation's lines, of what its trial replica prints the first; gives the callback."""
    printed = 0

    def show(line: LogLine) -> None:
        nonlocal printed
        is_printed = line.source == TRIAL_REPLICA
        printed += is_printed
        if not is_printed or printed <= _MOST_LINES:
            log_line(line)

    try:
        yield show
    finally:
        if printed > _MOST_LINES:
            output.say(
                f"  {printed - _MOST_LINES} more lines of the replica; `modelyard operation log "
                "ID` shows all, and `modelyard operation list` the ids"
            )
