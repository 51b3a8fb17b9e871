"""Forks processes that tell their parent how they fare, and that end when it does.

Between the two stand two pipes. On one the child reports, and its end says that the child is gone.
The other, the lifeline, is never written: the kernel signals the child when the parent's end of it
closes, however the parent died, and even if the child is deep in C code. A child that is to outlive
its parent sees the same, and decides for itself.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import orjson

Message = dict[str, Any]
"""What a child reports: JSON values by name."""

_READ_SIZE = 64 << 10
_HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)


class Uplink:
    """A child's way to tell its parent something."""

    def __init__(self, fd: int, lifeline: int) -> None:
        self._fd = fd
        self.lifeline = lifeline
        """Descriptor that becomes readable when the parent ends."""

    def send(self, **message: Any) -> None:
        """Send one message; nobody listening is no error, for then this process is about to end."""
        data = orjson.dumps(message) + b"\n"
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError:
            return


class Child:
    """A forked process, as its parent sees it."""

    def __init__(self, pid: int, lifeline: int, news: int) -> None:
        self.pid = pid
        self.news = news
        """Descriptor that becomes readable when the child reports or ends."""
        self._lifeline = lifeline
        self._partial = b""
        os.set_blocking(news, False)

    def messages(self) -> list[Message]:
        """What it has reported since the last call."""
        try:
            while data := os.read(self.news, _READ_SIZE):
                self._partial += data
        except BlockingIOError:
            pass
        *lines, self._partial = self._partial.split(b"\n")
        return [orjson.loads(line) for line in lines]

    def kill(self, number: int) -> None:
        """Send a signal; it is our child and not reaped yet, so the pid is still its own."""
        os.kill(self.pid, number)

    def reap(self) -> int | None:
        """How it ended: its exit status, or minus the signal that killed it; `None`: it lives."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None

    def close(self) -> None:
        """Let go of the pipes, which ends a child that still lives, unless it is to outlive."""
        os.close(self._lifeline)
        os.close(self.news)


def fork(siblings: Iterable[Child] = (), *, outliving: bool = False) -> Child | Uplink:
    """Fork: the parent gets the child, the child its way up.

    Args:
        siblings: The parent's other children; their pipes are closed in the new one, which would
            otherwise keep their lifelines.
        outliving: The child is not ended by the end of its parent.
    """
    lifeline_read, lifeline_write = os.pipe()
    news_read, news_write = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    # A signal for the child must not fall into the handler it has from its parent, and be lost.
    signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
        os.close(lifeline_read)
        os.close(news_write)
        return Child(pid, lifeline_write, news_read)
    os.close(lifeline_write)
    os.close(news_read)
    for sibling in siblings:
        sibling.close()
    _forget_signals()
    if not outliving:
        _die_with(lifeline_read)
    return Uplink(news_write, lifeline_read)


def reap_orphans(children: Iterable[Child]) -> None:
    """As the first process of a container: bury what others' children have left behind.

    A process whose parent has ended is handed to the first one, and stays in the table until that
    one asks for its status. `children` are told apart and left to their own `reap`.
    """
    if os.getpid() != 1:
        return
    known = {child.pid for child in children}
    with suppress(ChildProcessError):
        while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if ended.si_pid in known:
                return  # it is reaped before the next look
            os.waitpid(ended.si_pid, 0)


def survives_fork() -> bool:
    """Whether a fork of this process is as good as the process: no thread would be missing.

    Some libraries end their threads at a fork and begin new ones on both sides (OpenBLAS does).
    Only a trial tells those from the ones that a forked child would wait for in vain.
    """
    if _threads() > 1:
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
    return _threads() == 1


def _threads() -> int:
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:  # no such folder on macOS; there Python's own threads are all that is known
        return len(sys._current_frames())


def _forget_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in _HANDLED:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)


def _die_with(lifeline: int) -> None:
    if sys.platform == "linux":
        signal.signal(signal.SIGIO, signal.SIG_DFL)  # which ends the process
    else:
        signal.signal(signal.SIGIO, lambda number, frame: os._exit(1))
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([lifeline], [], [], 0)[0]:
        os._exit(1)  # the parent ended before the kernel was asked to watch
