"""Where an agent keeps its files, and the short folder for its Unix sockets."""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import tempfile
import time
from pathlib import Path

from modelyard.errors import Conflict, PermissionDenied, Unauthenticated

_LONGEST_FOLDER = 88  # bytes, so that a socket name of 15 still fits into the 104 of a path

_TRIES = 5
_PAUSE = 0.01


class AgentHome:
    """The agent's part of a home folder: `<home>/agent`; `layers` and `trusted` beside it."""

    def __init__(self, home: Path) -> None:
        self.folder = home.absolute() / "agent"
        self.layers = home.absolute() / "layers"
        self.trusted = home.absolute() / "trusted"
        self.token = self.folder / "token"
        self.lock = self.folder / "agent.lock"
        self.status = self.folder / "agent.json"
        self.desired = self.folder / "desired.json"
        self.judged = self.folder / "judged.json"
        self.observed = self.folder / "observed.json"
        self.replicas = self.folder / "replicas"
        self.containers = self.folder / "containers"
        self.fetched = self.folder / "fetched"
        self.blobs = self.folder / "blobs"
        self.gateway = self.folder / "gateway"
        self.figures = self.folder / "figures.json"
        self.captured = self.folder / "captured"

    def create(self) -> None:
        """Make the folders that are missing, readable by their owner only."""
        for folder in (self.folder, self.replicas, self.containers):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self.fetched, self.blobs, self.gateway, self.captured):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def read_token(self) -> str:
        """The agent's token.

        Raises:
            Unauthenticated: There is none.
        """
        try:
            return self.token.read_text().strip()
        except FileNotFoundError as error:
            raise Unauthenticated(
                f"the agent has no token: `{self.token}` is missing",
                hint="start the server with the same home folder; it writes the token",
            ) from error

    def sockets(self) -> Path:
        """A short folder for sockets, ours alone; made when it is missing, as after a reboot.

        Raises:
            PermissionDenied: Somebody else has put something in its place.
            Conflict: The temporary folder's path is too long for Unix sockets.
        """
        name = hashlib.sha256(bytes(self.folder)).hexdigest()[:8]
        folder = Path(tempfile.gettempdir()) / f"modelyard-{os.getuid()}-{name}"
        if len(bytes(folder)) > _LONGEST_FOLDER:
            raise Conflict(
                f"the path `{folder}` is too long for Unix sockets",
                hint="set TMPDIR to a folder with a shorter path",
            )
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise PermissionDenied(
                f"`{folder}` is not a private folder of this user",
                hint="somebody else made it: remove it, or set TMPDIR to a folder of your own",
            )
        return folder


def lock(path: Path) -> int | None:
    """Take the lock at `path` for the life of the returned descriptor; None when it is taken."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for _ in range(_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            time.sleep(_PAUSE)  # somebody may only be looking, with `is_locked`
    os.close(descriptor)
    return None


def is_locked(path: Path) -> bool:
    """Whether a living process holds the lock at `path`."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
