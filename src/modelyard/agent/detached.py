"""Starts processes that outlive the one that starts them: supervisors, the gateway, the agent."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

_LARGEST_LOG = 8 << 20
"""Bytes of a process's own log, after which the next start begins a new file."""

_children: list[subprocess.Popen[bytes]] = []


def start_detached(
    command: Sequence[str | Path],
    folder: Path,
    log: Path,
    *,
    env: Mapping[str, str] | None = None,
    keep: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, with its output appended to a log.

    Args:
        command: Program and arguments.
        folder: Its working folder.
        log: Where it writes; readable by the owner only, and one older file is kept.
        env: Its environment; unset gives it this process's.
        keep: Descriptors that it inherits.
    """
    if log.exists() and log.stat().st_size > _LARGEST_LOG:
        log.replace(log.with_suffix(".log.1"))
    with open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as output:
        child = subprocess.Popen(
            command,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=keep,
            start_new_session=True,
        )
    reap()
    _children.append(child)
    return child


def reap() -> None:
    """Collect the processes that ended, so that none stays behind as a zombie."""
    _children[:] = [child for child in _children if child.poll() is None]
