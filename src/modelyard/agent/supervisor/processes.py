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

_SHELL_SIGNAL = 128


def start(spec: Spec, listener: int | None, output: int) -> int:
    """Start the runtime in a process group of its own; returns its process id.

    A command that cannot be run ends with status 127, and the log says why.
    """
    supervisor = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become_runtime(spec, listener, output, supervisor)
    return pid


def terminate(pid: int, depth: int) -> None:
    """Ask the runtime to drain and end; it is `depth` processes below the one that was started."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(_runtime(pid, depth), signal.SIGTERM)


def kill_container(pid: int) -> None:
    """Have the process that holds a container kill it and end."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGINT)


def abort(pid: int, depth: int) -> None:
    """End the runtime and what it started so that each process may write a traceback first."""
    runtime = _runtime(pid, depth)
    for member in (*system.descendants(runtime), runtime):
        with contextlib.suppress(ProcessLookupError):
            os.kill(member, signal.SIGABRT)


def exit_code(status: int, depth: int) -> int:
    """An exit status, or minus the signal, of the runtime, from what `waitpid` said.

    A sandbox that has processes of its own ends like a shell does: with 128 and the signal.
    """
    code = os.waitstatus_to_exitcode(status)
    return _SHELL_SIGNAL - code if depth and code > _SHELL_SIGNAL else code


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
    config = folder / RUNTIME_CONFIG
    marks = (f"--config {config}", f"--ro-bind {config}")  # without a sandbox and in one
    own = os.getpid()
    lines = system.command_lines()
    found = [pid for pid, line in lines if pid != own and any(mark in line for mark in marks)]
    _kill(found)
    return len(found)


def _runtime(pid: int, depth: int) -> int:
    """The runtime below a process that was started: the oldest child, `depth` times over.

    While a sandbox has not come that far, it is the sandbox itself.
    """
    for _ in range(depth):
        children = system.children(pid)
        if not children:
            break
        pid = children[0]
    return pid


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
