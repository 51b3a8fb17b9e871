"""Where one process records: its segments, their bounds, and what is done when there is no room.

Several processes share a folder; each has its own segments and its own tally. Used in one thread.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from modelyard_runtime.capture.records import FORMAT, About, Answered, Collected, decode, encode
from modelyard_runtime.capture.segments import (
    LARGEST_RECORD,
    Segment,
    frame,
    open_closed,
    read_records,
    segments_in,
)
from modelyard_runtime.capture.tallies import Tally

LARGEST_SEGMENT = 16 << 20
"""Bytes after which a segment is closed."""
OLDEST = 20.0
"""Seconds after which it is closed, however much comes."""
IDLE = 1.0
"""Seconds without a record after which it is closed."""
_LOOK_AGAIN = 0.5
"""Seconds between two looks at how full the folder is."""

REFUSE, DROP_NEW, DROP_OLD = "refuse", "drop_new", "drop_old"


class Bounds(NamedTuple):
    """How much of the disk one folder may take, and what is done beyond."""

    space: int = 1 << 30
    """Bytes."""
    when_full: str = DROP_NEW
    """`refuse` answers 503 to what cannot be recorded; `drop_new` and `drop_old` throw away."""
    durable: bool = False
    """A record survives a power cut once it is written, which waits for the disk."""


class Spool:
    """Appends records.

    Args:
        folder: Where they go; made when it is missing.
        writer: Who writes: part of the file names.
        bounds: See `Bounds`; may be replaced at any time.

    Raises:
        OSError: The folder or the tally can be neither opened nor made.
    """

    def __init__(self, folder: Path, writer: str, bounds: Bounds | None = None) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._writer = writer
        self.bounds = bounds or Bounds()
        self.tally = Tally(folder / f"{writer}.tally")
        self._segment: Segment | None = None
        self._began = self._last = 0.0
        self._used = 0
        self._looked = -_LOOK_AGAIN
        self._broken_until = 0.0

    def add(self, record: Answered) -> bool:
        """Write one record before this returns; False: it was dropped, and counted."""
        return self.add_encoded(frame(encode(record)), 1)

    def add_encoded(self, frames: bytes, count: int) -> bool:
        """The same for the frames of several records: all of them, or none."""
        if self._append(frames):
            self.tally.add(captured=count)
            return True
        self.tally.add(dropped=count)
        return False

    def add_collected(self, record: Collected) -> bool:
        """Write what a script has collected; False: it was dropped, also because it is too long.

        Tallies count requests only.
        """
        payload = encode(record)
        return len(payload) <= LARGEST_RECORD and self._append(frame(payload))

    @property
    def is_open(self) -> bool:
        """Something was written that others cannot have yet."""
        return self._segment is not None

    def has_room(self) -> bool:
        """Whether a record may be written, as far as is known."""
        now = time.monotonic()
        return now >= self._broken_until and not self._is_full(now)

    def tick(self) -> None:
        """Close the segment when it is time; to be called twice a second or so."""
        if self._segment is None:
            return
        now = time.monotonic()
        if now - self._last >= IDLE or now - self._began >= OLDEST:
            self.close()

    def close(self) -> None:
        """Let the agent have what was written; the next record begins a new segment."""
        segment, self._segment = self._segment, None
        if segment is not None:
            segment.close()

    def _append(self, frames: bytes) -> bool:
        now = time.monotonic()
        if now < self._broken_until or (self._is_full(now) and not self._make_room()):
            return False
        try:
            segment = self._segment or self._begin(now)
            segment.append(frames, durable=self.bounds.durable)
        except OSError:
            self._give_up(now)
            return False
        self._last = now
        self._used += len(frames)
        if segment.size >= LARGEST_SEGMENT:
            self.close()
        return True

    def _begin(self, now: float) -> Segment:
        segment = Segment(self._folder, f"{time.time_ns():020d}-{self._writer}")
        if self.bounds.durable:
            _sync(self._folder)  # its name has to survive, too
        self._segment = segment
        self._began = now
        segment.append(frame(encode(About(FORMAT, self._writer))))
        return segment

    def _give_up(self, now: float) -> None:
        """The disk takes nothing: go on with a new segment, in a while."""
        if self._segment is not None:
            with suppress(OSError):
                self._segment.cut()
        self.close()
        self._broken_until = now + _LOOK_AGAIN

    def _is_full(self, now: float) -> bool:
        if now - self._looked >= _LOOK_AGAIN:
            self._looked = now
            self._used = _size_of(self._folder)
        return self._used >= self.bounds.space

    def _make_room(self) -> bool:
        """Throw the oldest away, where that is wanted; whether there is room now."""
        if self.bounds.when_full != DROP_OLD:
            return False
        self.close()
        for path in segments_in(self._folder):
            if self._used < self.bounds.space:
                break
            self._drop(path)
        return self._used < self.bounds.space

    def _drop(self, path: Path) -> None:
        fd = open_closed(path)
        if fd is None:
            return
        try:
            count = _answers_in(fd)
            size = os.fstat(fd).st_size
            os.unlink(path)
        except OSError:
            return
        finally:
            os.close(fd)
        self._used -= size
        self.tally.add(captured=-count, dropped=count)


def _answers_in(fd: int) -> int:
    count = 0
    for payload in read_records(fd):
        with suppress(ValueError):  # whole, and yet no record: a script can write here, too
            count += isinstance(decode(payload), Answered)
    return count


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _size_of(folder: Path) -> int:
    total = 0
    for path in segments_in(folder):
        with suppress(OSError):
            total += path.lstat().st_size
    return total
