"""Starting the runtime, and ending it with everything it started."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
from collections.abc import Iterable
from pathlib import Path

from modelyard.agent.supervisor import system
from modelyard.agent.supervisor.spec import RUNTIME_CONFIG, SOCKET_FD, Spec


def start(spec: Spec, listener: int | None, output: int) -> int:
    """Start the runtime in a process group of its own; returns its process id.

    A command that cannot be run ends with status 127, and the log says why.
    """
    supervisor = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become_runtime(spec, listener, output, supervisor)
    return pid


def terminate(pid: int) -> None:
    """Ask the runtime to drain and end."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)


def kill_container(pid: int) -> None:
    """Have the process that holds a container kill it and end."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGINT)


def abort(group: int) -> None:
    """End the runtime's process group so that each process may write a traceback first."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGABRT)


def kill_everything(group: int) -> None:
    """End the runtime's process group and every descendant, also those being born meanwhile."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
    for _ in range(100):
        members = system.descendants(os.getpid())
        if not members:
            return
        _kill(members)


def kill_leftovers(folder: Path) -> int:
    """End processes of an earlier life of this replica, told by their command line; how many."""
    mark = f"--config {folder / RUNTIME_CONFIG}"
    own = os.getpid()
    found = [pid for pid, command in system.command_lines() if mark in command and pid != own]
    _kill(found)
    return len(found)


def _become_runtime(spec: Spec, listener: int | None, output: int, supervisor: int) -> None:
    try:
        os.setsid()
        system.end_with_parent()
        if os.getppid() != supervisor:
            os._exit(1)
        system.offer_to_the_kernel()
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        _place_descriptors(listener, output)
        os.execve(spec.argv[0], spec.argv, spec.env)  # noqa: S606 - no shell is the point
    except BaseException as error:
        os.write(2, f"cannot start {spec.argv[0]}: {error}\n".encode())
    finally:
        os._exit(127)


def _place_descriptors(listener: int | None, output: int) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    wanted = {0: nothing, 1: output, 2: output}
    if listener is not None:
        wanted[SOCKET_FD] = listener
    # Through copies above the wanted numbers, so that no source is overwritten before its turn.
    copies = {n: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for n, fd in wanted.items()}
    for number, copy in copies.items():
        os.dup2(copy, number)


def _kill(pids: Iterable[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
