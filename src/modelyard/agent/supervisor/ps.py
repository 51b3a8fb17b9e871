"""Processes where there is no /proc: `ps` is asked, which is slow and therefore done less often."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator

SAMPLE_INTERVAL = 1.0
"""Seconds between two looks at the memory."""


def adopt_orphans() -> None:
    """Not to be had here: an orphan is ended by its process group only."""


def end_with_parent() -> None:
    """Not to be had here: the next supervisor ends what this one left."""


def offer_to_the_kernel() -> None:
    """Not to be had here."""


def descendants(root: int) -> list[int]:
    """Every living process below `root`."""
    table = _table()
    found = [root]
    for parent in found:
        found += [pid for pid, above, _, _ in table if above == parent]
    zombies = {pid for pid, _, _, state in table if state.startswith("Z")}
    return [pid for pid in found[1:] if pid not in zombies]


def children(pid: int) -> list[int]:
    """The children of a process, the oldest first."""
    return sorted(child for child, above, _, _ in _table() if above == pid)


def resident(pids: Iterable[int]) -> int:
    """Bytes resident of these processes; pages that several share count several times."""
    wanted = set(pids)
    return sum(size for pid, _, size, _ in _table() if pid in wanted)


def proportional(pids: Iterable[int]) -> int | None:
    """Shared pages cannot be told apart here."""
    del pids
    return None


def command_lines() -> Iterator[tuple[int, str]]:
    """Every process of the host with its command line."""
    for line in _ask("pid=,args="):
        pid, _, command = line.strip().partition(" ")
        yield int(pid), command


def _table() -> list[tuple[int, int, int, str]]:
    """Process, parent, resident bytes, state."""
    rows = [line.split() for line in _ask("pid=,ppid=,rss=,state=")]
    return [(int(pid), int(above), int(size) << 10, state) for pid, above, size, state in rows]


def _ask(columns: str) -> list[str]:
    """What `ps` says of every process but itself."""
    with subprocess.Popen(
        ["ps", "-A", "-o", columns],
        stdout=subprocess.PIPE,
        text=True,
        env={"LC_ALL": "C", "PATH": os.defpath},
    ) as process:
        lines, _ = process.communicate()
    own = str(process.pid)
    return [line for line in lines.splitlines() if line.split(maxsplit=1)[0] != own]
