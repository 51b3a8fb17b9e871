"""A file that somebody else's code has written, and in whose place it may have put anything else.

A link would lead elsewhere, a pipe would block for ever, a folder cannot be unlinked. Used for
what replicas and searches leave behind, also by supervisors: it imports almost nothing.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path


def read(path: Path, most: int) -> bytes:
    """The content of a plain file of at most `most` bytes.

    Raises:
        OSError: It is not there, or is none.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > most:
            raise OSError(0, f"`{path.name}` is no file of at most {most} bytes")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(most)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove whatever is there, as far as that is possible."""
    with suppress(OSError):
        path.parent.chmod(0o700)
    try:
        path.unlink(missing_ok=True)
    except OSError:
        import shutil  # seldom, and not cheap

        shutil.rmtree(path, ignore_errors=True)
