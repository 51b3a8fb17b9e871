"""Temporary folders that show whether their maker still lives, so that the next one can clean up.

A folder is locked as long as its maker works in it; a process that was killed holds no lock.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def claimed_folder(parent: Path, prefix: str = "") -> Iterator[Path]:
    """An empty, private folder in `parent`, removed at the end."""
    folder, lock = _claim(parent, prefix)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def abandoned_folders(parent: Path, prefix: str = "") -> Iterator[Path]:
    """Folders whose maker is gone, one by one; each is removed when the next is asked for."""
    for folder in parent.glob(f"{prefix}*"):
        lock = _lock(folder)
        if lock is not None:
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)


def _claim(parent: Path, prefix: str) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(dir=parent, prefix=prefix))
        lock = _lock(folder)
        if lock is not None:  # else somebody took it for abandoned, right after it was made
            return folder, lock


def _lock(folder: Path) -> int | None:
    """A lock on a folder of ours, or None when it is locked or gone."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever had the lock until now may have removed the folder.
        if os.stat(folder).st_uid == os.geteuid():
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None
