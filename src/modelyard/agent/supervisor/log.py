"""A replica's output as log files of whole lines, each behind the time it was read.

Lines are hostile: their length is capped, control characters are escaped, and at most two files of
a capped size exist. Files are numbered and never renamed, so a reader's position stays true.
"""

from __future__ import annotations

import os
import time
from collections import deque
from pathlib import Path

MAX_LINE = 8 << 10
"""Bytes of a line that are kept."""

MAX_FILE = 8 << 20
"""Bytes after which the next file begins and the one before the last is deleted."""

TAIL = 40
"""Lines that are remembered as evidence."""

_LONGEST_EVIDENCE = 500


def log_files(folder: Path) -> list[int]:
    """Numbers of the log files in a folder, oldest first."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return sorted(int(name[:-4]) for name in names if name.endswith(".log") and name[:-4].isdigit())


def log_file(folder: Path, number: int) -> Path:
    """Path of the log file with this number."""
    return folder / f"{number:08d}.log"


def printable(text: str) -> str:
    """The text with everything a terminal might obey written as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\t" else ascii(c)[1:-1] for c in text)


def stamp(now: float) -> str:
    """UTC time with milliseconds, as it stands in front of every line."""
    milliseconds = int(now * 1000)
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(milliseconds // 1000))
    return f"{seconds}.{milliseconds % 1000:03d}Z"


class LineSplitter:
    """Cuts a byte stream into capped lines; `\\r` ends a line too, as progress bars use it."""

    def __init__(self, longest: int = MAX_LINE) -> None:
        self._longest = longest
        self._rest = b""
        self._cut = 0
        self._held = b""

    def feed(self, chunk: bytes) -> list[str]:
        """The lines that this chunk completes."""
        chunk = self._held + chunk
        self._held = b"\r" if chunk.endswith(b"\r") else b""
        chunk = chunk.removesuffix(b"\r").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *complete, rest = chunk.split(b"\n")
        lines = []
        for piece in complete:
            self._keep(piece)
            lines.append(self._line())
        self._keep(rest)
        return lines

    def finish(self) -> list[str]:
        """What is left when nothing more will come."""
        self._held = b""
        return [self._line()] if self._rest else []

    def _keep(self, piece: bytes) -> None:
        room = self._longest - len(self._rest)
        self._rest += piece[:room]
        self._cut += max(0, len(piece) - room)

    def _line(self) -> str:
        text = printable(self._rest.decode("utf-8", "backslashreplace"))
        if self._cut:
            text += f" … ({self._cut} bytes cut)"
        self._rest, self._cut = b"", 0
        return text


class LineLog:
    """The log of one replica. A full disk loses lines, which are counted, and nothing else."""

    def __init__(self, folder: Path, largest: int = MAX_FILE) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self._folder = folder
        self._largest = largest
        self._splitter = LineSplitter()
        self._number = max(log_files(folder), default=1)
        self._file = self._open(self._number)
        self._lost = 0
        self.tail: deque[str] = deque(maxlen=TAIL)

    def feed(self, chunk: bytes, now: float) -> None:
        """Add output that was just read; `now` is the time of day."""
        self._write(self._splitter.feed(chunk), now)

    def note(self, text: str, now: float) -> None:
        """Add a line of the supervisor's own."""
        self.finish(now)
        self._append([f"[supervisor] {printable(text)}"], now)

    def finish(self, now: float) -> None:
        """Write an incomplete last line: the process that wrote it is gone."""
        self._write(self._splitter.finish(), now)

    def _write(self, lines: list[str], now: float) -> None:
        self.tail.extend(line[:_LONGEST_EVIDENCE] for line in lines)
        if lines:
            self._append(lines, now)

    def _append(self, lines: list[str], now: float) -> None:
        told = [f"[supervisor] {self._lost} lines lost: the disk was full"] if self._lost else []
        prefix = stamp(now)
        data = "".join(f"{prefix} {line}\n" for line in told + lines).encode()
        try:
            self._rotate_if_full()
            self._write_whole(data)
            self._lost = 0
        except OSError:
            self._lost += len(lines)

    def _write_whole(self, data: bytes) -> None:
        before = os.fstat(self._file).st_size
        if os.write(self._file, data) < len(data):
            os.ftruncate(self._file, before)  # whole lines only
            raise OSError("short write")

    def _rotate_if_full(self) -> None:
        if os.fstat(self._file).st_size < self._largest:
            return
        full, self._file = self._file, self._open(self._number + 1)
        self._number += 1
        os.close(full)
        log_file(self._folder, self._number - 2).unlink(missing_ok=True)

    def _open(self, number: int) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        descriptor = os.open(log_file(self._folder, number), flags, 0o600)
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            os.write(descriptor, b"\n")  # the line that was being written when the power went
        return descriptor
