"""One replica that is started to be looked at: its process, socket, output, memory and end.

What is seen is judged in `check`. Whatever happens, the processes are ended with the context.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import Any

import psutil

from modelyard.images import foreign_file
from modelyard.images.claims import abandoned_folders, claimed_folder
from modelyard.images.sandbox.cell import SCRATCH, Cell

_PREFIX = "modelyard-check-"
_LARGEST_STATUS = 256 << 10
_LONGEST_LINE = 8192
_MOST_LINES = 2000
_TAIL = 30
_LONGEST_PARENT = 60
"""Characters, so that a socket in a folder below stays under 104, the shortest limit there is."""
_LAST_WORDS = 1.0
"""Seconds that an aborted process gets to write its stack, and the output to be read to its end."""
_POLL = 0.02
_COLOUR = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")


class Trial:
    """A running replica.

    Args:
        cell: Where it runs; its folder is private, and there is nothing in it yet.
        command: The runtime's command, without its configuration.
        environment: All of its variables.
        config: Its configuration, without what only this class knows.
    """

    def __init__(
        self,
        cell: Cell,
        command: Sequence[str],
        environment: Mapping[str, str],
        config: Mapping[str, Any],
    ) -> None:
        self._cell = cell
        self.socket = cell.folder / "socket"
        self._lines: deque[str] = deque()
        self._lines_left = _MOST_LINES
        self.tail: deque[str] = deque(maxlen=_TAIL)
        """The last lines of its output."""
        self._process = self._start(command, environment, config)
        self._root = psutil.Process(self._process.pid)
        self._reader = Thread(target=self._read, name="check-output", daemon=True)
        self._reader.start()

    def status(self) -> dict[str, Any]:
        """What the runtime says of itself; empty before it says anything."""
        try:
            written = foreign_file.read(self._cell.outside.status, _LARGEST_STATUS)
            document = json.loads(written)
        except (OSError, ValueError, RecursionError):
            return {}
        return document if isinstance(document, dict) else {}

    def output(self) -> Iterator[str]:
        """The lines it wrote since the last call."""
        while self._lines:
            yield self._lines.popleft()

    def has_exited(self) -> bool:
        """Whether its first process has ended. It is not reaped before `end`: that keeps its id,
        and so the id of its process group, from being given to somebody else."""
        return not _is_alive(self._root)

    def memory(self, limit: int) -> int:
        """Bytes that all its processes use; what they share is counted once, if near `limit`."""
        processes = self._processes()
        resident = sum(_read_memory(process, exact=False) for process in processes)
        if resident <= limit:
            return resident
        return sum(_read_memory(process, exact=True) for process in processes)

    def shared_memory(self) -> int:
        """Bytes that all its processes use; what they share is counted once."""
        return self.memory(limit=0)

    def cpu_seconds(self) -> float:
        """CPU time that its living processes have used."""
        return sum(_read_cpu(process) for process in self._processes())

    def show_where_it_is(self) -> None:
        """Have the processes at work write their stack to the output, and end."""
        processes = self._processes()
        parents = {_parent(process) for process in processes}
        at_work = [process for process in processes if process.pid not in parents]
        for process in at_work:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGABRT)
        give_up = time.monotonic() + _LAST_WORDS
        while any(_is_alive(process) for process in at_work) and time.monotonic() < give_up:
            time.sleep(_POLL)

    def end(self) -> int:
        """End every process; repeatable. Returns the exit status, or minus the signal."""
        if self._process.returncode is None:
            family = self._processes()
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            for process in family:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            _end_leftovers(self._cell.folder)
        self._process.wait()
        # Not for ever: what has hidden from us may still hold the pipe.
        self._reader.join(_LAST_WORDS)
        return self._cell.exit_code(self._process.returncode)

    def _start(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        config: Mapping[str, Any],
    ) -> subprocess.Popen[bytes]:
        cell = self._cell
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(self.socket))
            listener.listen(128)
            document = {**config, "fd": listener.fileno(), "status": str(cell.inside.status)}
            cell.prepare(json.dumps(document))
            return subprocess.Popen(
                cell.command([*command, "--config", str(cell.inside.config)]),
                env=dict(environment),
                cwd=cell.folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[listener.fileno()],
                start_new_session=True,
            )

    def _read(self) -> None:
        """Take the output as it comes, so that nobody waits for a full pipe."""
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            while line := stream.readline(_LONGEST_LINE):
                self._keep(_plain(line))

    def _keep(self, line: str) -> None:
        self.tail.append(line)
        if self._lines_left:
            self._lines_left -= 1
            self._lines.append(line if self._lines_left else "(more output is left out)")

    def _processes(self) -> list[psutil.Process]:
        try:
            return [self._root, *self._root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


@contextmanager
def trial_folder() -> Iterator[Path]:
    """A private folder whose path is short enough for a socket in it."""
    end_abandoned()
    with claimed_folder(_short_parent(), _PREFIX) as folder:
        yield folder


def end_abandoned() -> None:
    """End what trials have left running whose process was killed in the middle of them."""
    for folder in abandoned_folders(_short_parent(), _PREFIX):
        _end_leftovers(folder)


def _short_parent() -> Path:
    usual = tempfile.gettempdir()
    places = [os.environ.get("XDG_RUNTIME_DIR"), usual, "/tmp"]  # noqa: S108
    usable = [place for place in places if place and _is_usable(place)]
    return Path(usable[0] if usable else usual)


def _is_usable(place: str) -> bool:
    return len(place) <= _LONGEST_PARENT and os.access(place, os.W_OK)


def _end_leftovers(folder: Path) -> None:
    """End every process of a trial, also those that have left their family."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if _is_of(process, folder):
                process.kill()


def _is_of(process: psutil.Process, folder: Path) -> bool:
    """Whether it belongs to a trial: by its temporary folder, or as the sandbox around it."""
    if process.environ().get("TMPDIR") == str(folder / SCRATCH):
        return True
    return str(folder / SCRATCH) in process.cmdline()


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _parent(process: psutil.Process) -> int | None:
    try:
        return process.ppid()
    except psutil.NoSuchProcess:
        return None


def _read_memory(process: psutil.Process, *, exact: bool) -> int:
    try:
        if exact:
            full = process.memory_full_info()
            return int(getattr(full, "pss", full.uss))
        return int(process.memory_info().rss)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0


def _read_cpu(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
        return float(times.user + times.system)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0.0


def _plain(line: bytes) -> str:
    """A line of output as harmless text."""
    text = _COLOUR.sub("", line.decode("utf-8", "backslashreplace").rstrip())
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\t" else ascii(c)[1:-1] for c in text)
