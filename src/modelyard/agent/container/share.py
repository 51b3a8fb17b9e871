"""The folder that a container and its host share. What is in it is the container's, so hostile.

The folder may be written by the container's user, whoever that is on this host; it lies below one
that only the agent's user may enter.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

from modelyard.agent.container.spec import CONFIG, SOCKET, STATUS

_LARGEST_STATUS = 256 << 10
_FOR_ANY_USER = 0o777


def prepare(folder: Path, config: dict[str, Any]) -> None:
    """Make the folder anew with the runtime's configuration: nothing of an earlier life counts."""
    discard(folder)
    folder.mkdir(mode=0o700)
    descriptor = os.open(folder / CONFIG, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    with open(descriptor, "w") as file:
        file.write(json.dumps(config))
    (folder / CONFIG).chmod(0o644)
    folder.chmod(_FOR_ANY_USER)


def discard(folder: Path) -> None:
    """Remove the folder with whatever a container left in it; no link is followed."""
    with contextlib.suppress(OSError):
        shutil.rmtree(folder)
    with contextlib.suppress(OSError):
        folder.rename(f"{folder}.{os.urandom(4).hex()}")  # files of another user in folders


def read_status(folder: Path) -> dict[str, Any]:
    """What the runtime says of itself; empty when it says nothing that makes sense."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        with open(os.open(folder / STATUS, flags), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST_STATUS:
                return {}
            document = json.loads(file.read(_LARGEST_STATUS))
    except (OSError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def show_socket(folder: Path, place: Path) -> bool:
    """Give the replica's socket a second name outside the folder; false when there is none.

    The gateway connects by that name, which the container cannot make a link to something else.
    """
    new = place.with_name(f"{place.name}.new")
    with contextlib.suppress(FileNotFoundError):
        new.unlink()
    try:
        _link(folder / SOCKET, new)
        if not stat.S_ISSOCK(new.stat().st_mode):
            new.unlink()
            return False
        new.rename(place)
        # Of two names of one file, `rename` keeps both.
        new.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def _link(source: Path, new: Path) -> None:
    try:
        os.link(source, new, follow_symlinks=False)
    except PermissionError:
        # Linux lets only root, or its owner, link to a socket.
        if not stat.S_ISSOCK(source.lstat().st_mode):
            raise
        new.symlink_to(source)
