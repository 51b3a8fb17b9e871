"""Whether what a thread works on is still wanted: asked wherever that work waits.

It is of the thread, and not an argument of everything between who knows and who waits.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar

_LOOK = 0.1
"""Seconds between two questions while a program runs."""


class Cancelled(Exception):
    """What is being done is not wanted any longer."""


_is_unwanted: ContextVar[Callable[[], bool]] = ContextVar("is_unwanted", default=lambda: False)


@contextmanager
def while_wanted(is_unwanted: Callable[[], bool]) -> Iterator[None]:
    """Let what this thread does in here be cut off by `go_on`."""
    token = _is_unwanted.set(is_unwanted)
    try:
        yield
    finally:
        _is_unwanted.reset(token)


def go_on() -> None:
    """Raise `Cancelled` when the work of this thread is not wanted any longer."""
    if _is_unwanted.get()():
        raise Cancelled


def run_program(
    command: Sequence[str], text: str, environment: Mapping[str, str], longest: float
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, or until it is not wanted; then all that it started ends, too.

    Args:
        command: The program and its arguments.
        text: Its standard input.
        environment: Its variables.
        longest: Seconds that it may take.

    Raises:
        subprocess.TimeoutExpired: It took longer.
        Cancelled: It is not wanted any longer.
    """
    deadline = time.monotonic() + longest
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    ) as process:
        given: str | None = text
        try:
            while True:
                try:
                    said, complained = process.communicate(given, timeout=_LOOK)
                except subprocess.TimeoutExpired:
                    given = None  # the rest of it is sent by the next call
                    go_on()
                    if time.monotonic() > deadline:
                        raise
                else:
                    return subprocess.CompletedProcess(
                        command, process.returncode, said, complained
                    )
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
