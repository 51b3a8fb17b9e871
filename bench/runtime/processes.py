"""A server's processes: all of them, their CPU time and memory, and their end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import IO

import psutil

_TICK = 1 / os.sysconf("SC_CLK_TCK")
_END_PATIENCE = 5.0
_LOOK = 0.3
"""Seconds of one look at what a server uses."""
_QUIET, _RESTLESS = 0.1, 0.35
"""Parts of one core that idle servers use, and that some use which are never quiet."""


class Family:
    """A started process with everything it starts, also what leaves its process tree."""

    def __init__(
        self,
        command: Sequence[str],
        variables: Mapping[str, str],
        folder: Path,
        log: IO[bytes],
        listeners: Sequence[socket.socket] = (),
    ) -> None:
        self._mark = f"BENCH_FAMILY={folder}".encode()
        self._root = subprocess.Popen(
            command,
            env={**variables, "BENCH_FAMILY": str(folder)},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[listener.fileno() for listener in listeners],
            start_new_session=True,
        )

    def ended(self) -> bool:
        """Whether the first process is gone."""
        return self._root.poll() is not None

    def cpu(self) -> float:
        """Seconds of CPU of all its processes, those that have ended included."""
        return sum(_cpu(pid) for pid in self.pids())

    def memory(self) -> float:
        """MiB of all its processes; what they share is counted once."""
        return sum(_proportional(pid) for pid in self.pids()) / 1024

    def settle(self, patience: float) -> None:
        """Wait until it has finished what an ended client had asked for.

        Some servers are never quiet: they have finished when what they use stays the same.
        """
        give_up = time.monotonic() + patience
        last = inf
        while time.monotonic() < give_up:
            before = self.cpu()
            time.sleep(_LOOK)
            used = (self.cpu() - before) / _LOOK
            if used < _QUIET or (used < _RESTLESS and last < 1.2 * used):
                return
            last = used

    def end(self) -> None:
        """End every process and wait for them."""
        family = self._processes()
        with suppress(ProcessLookupError):
            os.killpg(self._root.pid, signal.SIGTERM)
        _, alive = psutil.wait_procs(family, timeout=_END_PATIENCE)
        for process in {*alive, *self._processes()}:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._root.wait()

    def pids(self) -> list[int]:
        """The ids of its living processes."""
        return [process.pid for process in self._processes()]

    def _processes(self) -> list[psutil.Process]:
        found: dict[int, psutil.Process] = {}
        with suppress(psutil.NoSuchProcess):
            root = psutil.Process(self._root.pid)
            found = {process.pid: process for process in [root, *root.children(recursive=True)]}
        for process in psutil.process_iter():
            if process.pid not in found and self._is_ours(process.pid):
                found[process.pid] = process
        return list(found.values())

    def _is_ours(self, pid: int) -> bool:
        try:
            return self._mark in Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return False


def _cpu(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(ticks) for ticks in fields[11:15]) * _TICK  # with its children that ended


def _proportional(pid: int) -> int:
    """KiB."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
