"""The folder that a container and its host share. What is in it is the container's, so hostile.

The folder may be written by the container's user, whoever that is on this host; it lies below one
that only the agent's user may enter.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

from modelyard.agent.container.spec import CONFIG, SOCKET, STATUS
from modelyard.images import foreign_file

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
    try:
        document = json.loads(foreign_file.read(folder / STATUS, _LARGEST_STATUS))
    except (OSError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def show_socket(folder: Path, place: Path) -> bool:
    """Give the replica's socket a second name outside the folder; false when there is none.

    The gateway connects by that name, which the container cannot make a link to something else.
    """
    new = place.with_name(f"{place.name}.new")
    try:
        new.unlink(missing_ok=True)
        _name_anew(folder / SOCKET, new)
        new.rename(place)
        new.unlink(missing_ok=True)  # `rename` keeps both of two names of one file
    except OSError:
        return False
    return True


def _name_anew(socket: Path, new: Path) -> None:
    """Another name of the socket itself; raises an OSError for anything that is none."""
    try:
        os.link(socket, new, follow_symlinks=False)
        found = new.lstat()
    except PermissionError:
        # Linux lets only root, or its owner, link to a socket: this can be replaced at any time.
        new.symlink_to(socket)
        found = socket.lstat()
    if not stat.S_ISSOCK(found.st_mode):
        new.unlink()
        raise FileNotFoundError(errno.ENOENT, "no socket", str(socket))
