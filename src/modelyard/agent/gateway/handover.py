"""How a gateway gives what it has to the next one, so that no caller notices.

Over a Unix socket in its folder, it hands out its listening socket and the board, and the lock of
the folder. The next one starts its processes with them, says so, and from then on is the gateway:
those of the one before drain. Where the parent is gone, its processes give for it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from modelyard.agent.gateway import files
from modelyard.agent.gateway.board import LAYOUT, Board
from modelyard.agent.gateway.listening import Address
from modelyard.errors import Conflict

_PATIENCE = 10.0  # seconds for an answer of the gateway that runs
_LONGEST = 64 << 10
_MOST_FDS = 200
_GO = b"!"

_log = logging.getLogger("modelyard.gateway")


class Door:
    """The socket at which the next gateway asks; made under another name until it is `opened`."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / files.HANDOVER
        self._early = folder / f"{files.HANDOVER}.early"
        self.socket: socket.socket | None = None
        try:
            self.socket = _bound(self._early)
        except OSError as error:
            _log.error("the next gateway cannot take over without a gap: %s", error)

    def open(self) -> None:
        """Become the gateway that is asked."""
        if self.socket is not None:
            try:
                os.replace(self._early, self._path)
            except OSError as error:
                _log.error("the next gateway cannot take over without a gap: %s", error)


class Giver:
    """Gives to one at a time who asks at the door, until one of them says that it serves.

    Args:
        door: Where it is asked.
        address: Host and port that the gateway was told to listen on.
        listener: Its listening socket.
        board: Of its processes.
        generation: Of the processes.
        lock: The lock of its folder; None where the parent that had it is gone.
    """

    def __init__(
        self,
        door: socket.socket,
        address: tuple[str, int],
        listener: socket.socket,
        board: Board,
        generation: int,
        lock: IO[str] | None,
    ) -> None:
        self._door = door
        self._address = address
        self._listener = listener
        self._board = board
        self._lock = lock
        self._generation = generation
        self._asker: socket.socket | None = None
        door.setblocking(False)

    def without_lock(self) -> Giver:
        """For a process that outlives the one that has the lock."""
        return Giver(self._door, self._address, self._listener, self._board, self._generation, None)

    @property
    def watched(self) -> int:
        """Descriptor that is readable when there is something to do; after a turn, another one."""
        return (self._asker or self._door).fileno()

    def turn(self) -> bool:
        """Do it; whether another gateway serves from now on."""
        try:
            if self._asker is None:
                self._answer()
                return False
            if self._asker.recv(1) == _GO:
                self._board.supersede(self._generation + 1)
                return True
        except BlockingIOError:
            return False  # somebody else has answered
        except OSError as error:
            _log.error("a gateway that was to take over is gone: %s", error)
        self._forget()
        return False

    def close(self) -> None:
        """There is nothing to give any more."""
        self._forget()
        self._door.close()

    def _answer(self) -> None:
        asker, _ = self._door.accept()
        host, port = self._address
        fds = [self._listener.fileno(), self._board.fd]
        fds += [end for bell in self._board.bells for end in bell]
        if self._lock is not None:
            fds.append(self._lock.fileno())
        told = {
            "host": host,
            "port": port,
            "layout": LAYOUT,
            "locked": self._lock is not None,
            "version": max(self._board.versions(), default=0),
        }
        self._asker = asker
        socket.send_fds(asker, [json.dumps(told).encode()], fds)
        asker.setblocking(False)

    def _forget(self) -> None:
        if self._asker is not None:
            self._asker.close()
            self._asker = None


@dataclass(frozen=True)
class Taken:
    """What a gateway was given by the one before, whose processes serve until `go`."""

    host: str
    port: int
    listener: socket.socket
    board: Board | None
    """None: that of another version, which this one cannot read."""
    lock: IO[str] | None
    version: int
    """Of the configuration that it serves."""
    giver: socket.socket

    def is_for(self, address: Address) -> bool:
        """Whether its listening socket is the one that a gateway at this address needs."""
        host, port = address.wanted
        bound = self.listener.getsockname()[1]
        return host == self.host and port in (self.port, bound, 0)

    def go(self) -> None:
        """Another gateway serves: that one's processes are to drain."""
        with contextlib.suppress(OSError):  # it has ended meanwhile; who it left sees the board
            self.giver.sendall(_GO)
        self.giver.close()


def take(folder: Path) -> Taken | None:
    """What the gateway of a folder gives; None when there is nobody to give anything.

    Raises:
        Conflict: There is one, and it does not answer.
    """
    giver = socket.socket(socket.AF_UNIX)
    giver.settimeout(_PATIENCE)
    try:
        with contextlib.chdir(folder):  # the whole path may be too long for a socket
            giver.connect(files.HANDOVER)
    except (FileNotFoundError, ConnectionRefusedError):
        giver.close()
        return None
    try:
        data, fds, _, _ = socket.recv_fds(giver, _LONGEST, _MOST_FDS)
        return _taken(json.loads(data), fds, giver)
    except (OSError, ValueError, LookupError) as error:
        giver.close()
        raise Conflict(
            f"the gateway that runs for `{folder}` does not hand over: {error}",
            hint="end it with SIGTERM, and start another one",
        ) from error


def _taken(told: dict[str, object], fds: list[int], giver: socket.socket) -> Taken:
    lock = os.fdopen(fds.pop(), "a") if told["locked"] else None
    listener, board, *ends = fds
    is_ours = told["layout"] == LAYOUT
    if not is_ours:
        for fd in (board, *ends):
            os.close(fd)
    bells = tuple(zip(ends[::2], ends[1::2], strict=True))
    return Taken(
        host=str(told["host"]),
        port=int(str(told["port"])),
        listener=socket.socket(fileno=listener),
        board=Board(board, bells) if is_ours else None,
        lock=lock,
        version=int(str(told["version"])),
        giver=giver,
    )


def _bound(path: Path) -> socket.socket:
    door = socket.socket(socket.AF_UNIX)
    try:
        with contextlib.chdir(path.parent):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path.name)
            door.bind(path.name)
            os.chmod(path.name, 0o600)
        door.listen()
    except OSError:
        door.close()
        raise
    return door
