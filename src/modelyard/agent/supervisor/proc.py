"""Processes as Linux shows them in /proc."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections.abc import Iterable, Iterator

SAMPLE_INTERVAL = 0.25
"""Seconds between two looks at the memory."""

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PAGE = os.sysconf("SC_PAGE_SIZE")
_libc = ctypes.CDLL(None, use_errno=True)


def adopt_orphans() -> None:
    """Become the parent of whatever a descendant leaves behind, so that nothing escapes."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_with_parent() -> None:
    """Have the kernel end this process when its parent ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def offer_to_the_kernel() -> None:
    """Let the out-of-memory killer choose this process before the platform's own parts."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("500")


def descendants(root: int) -> list[int]:
    """Every living process below `root`."""
    return [pid for pid in _walk(root) if not _is_zombie(pid)]


def children(pid: int) -> list[int]:
    """The children of a process, the oldest first."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    return [child for thread in threads for child in _children_of_thread(pid, thread)]


def resident(pids: Iterable[int]) -> int:
    """Bytes resident of these processes; pages that several share count several times."""
    return sum(_statm(pid) for pid in pids)


def proportional(pids: Iterable[int]) -> int | None:
    """The same with shared pages counted once, or None when the kernel does not tell."""
    try:
        return sum(_pss(pid) for pid in pids)
    except PermissionError:
        return None


def command_lines() -> Iterator[tuple[int, str]]:
    """Every process of the host with its command line."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                command = _read(f"/proc/{name}/cmdline").replace(b"\0", b" ")
                yield int(name), command.decode(errors="replace")


def _walk(pid: int) -> Iterator[int]:
    for child in children(pid):
        yield child
        yield from _walk(child)


def _children_of_thread(pid: int, thread: str) -> list[int]:
    try:
        return [int(child) for child in _read(f"/proc/{pid}/task/{thread}/children").split()]
    except OSError:
        return []


def _is_zombie(pid: int) -> bool:
    try:
        return _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()[0] in b"ZX"
    except (OSError, IndexError):
        return True


def _statm(pid: int) -> int:
    try:
        return int(_read(f"/proc/{pid}/statm").split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def _pss(pid: int) -> int:
    try:
        lines = _read(f"/proc/{pid}/smaps_rollup").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return _statm(pid)  # gone, or a kernel older than 4.14
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith(b"Pss:")), 0)


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.read()
