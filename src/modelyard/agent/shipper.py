"""Sends the logs of replicas home as numbered pieces, each exactly once in effect.

What a piece is made of is written down before it is first sent, so a piece sent again after a lost
answer or a restart is the same bytes. The server answers with the number it expects next. When the
two disagree, because one of them lost its state, a new epoch begins and numbers start again.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol
from uuid import UUID

from modelyard.agent.backoff import Backoff
from modelyard.agent.supervisor.log import log_file, log_files
from modelyard.errors import Conflict, ModelyardError, Unavailable
from modelyard.files import replace_file
from modelyard.schemas import LogReceipt, LogSegment

log = logging.getLogger(__name__)

_LARGEST_PIECE = 256 << 10
POSITION = "shipped.json"


class Home(Protocol):
    """Where logs are sent."""

    def send_log(self, segment: LogSegment) -> LogReceipt:
        """Send one piece."""


@dataclass(frozen=True, slots=True)
class ReplicaLog:
    """A log to be sent."""

    service: UUID
    replica: str
    folder: Path
    """Of the log files."""

    @property
    def position(self) -> Path:
        """Where it is written down how far the log was sent."""
        return self.folder.parent / POSITION


@dataclass(frozen=True, slots=True)
class Position:
    """How far a log was sent: everything before `start`; `start` to `end` is on its way."""

    epoch: int
    sequence: int = 0
    file: int = 0
    start: int = 0
    end: int = 0
    lost: bool = False
    """Lines before `start` were deleted before they could be sent."""

    @property
    def pending(self) -> bool:
        """A piece was cut and its arrival is not known."""
        return self.end > self.start

    def next_epoch(self) -> Position:
        """Number the pieces from 0 again."""
        return replace(self, epoch=max(self.epoch + 1, int(time.time())), sequence=0)

    def arrived(self) -> Position:
        """The piece on its way has arrived."""
        return replace(self, sequence=self.sequence + 1, start=self.end, lost=False)


class Shipper:
    """Sends what is new in the logs of all replicas. Belongs to one thread."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._positions: dict[str, Position] = {}
        self._pauses: dict[str, Backoff] = {}

    def pump(self, logs: Mapping[str, ReplicaLog], now: float) -> None:
        """Send everything that is there now; a log that the server refuses waits for a while.

        Raises:
            Unavailable: The server takes nothing now; the rest stays for later.
        """
        self._forget(self._positions.keys() - logs.keys())
        for replica, replica_log in logs.items():
            pauses = self._pauses.setdefault(replica, Backoff(1.0, 60.0))
            if not pauses.due(now):
                continue
            try:
                while self._send_piece(replica_log):
                    pauses.succeeded()
            except Unavailable:
                raise
            except (ModelyardError, OSError) as error:
                log.error("log of replica %s: %s", replica, error)
                pauses.failed(now)

    def finished(self, replica_log: ReplicaLog) -> bool:
        """Whether everything in the log has arrived."""
        position = self._positions.get(replica_log.replica)
        if position is None:
            return not log_files(replica_log.folder)
        return not position.pending and _next_piece(replica_log, position) is None

    def _send_piece(self, replica_log: ReplicaLog) -> bool:
        """Send the next piece; false when there is none."""
        position = self._positions.get(replica_log.replica) or _load(replica_log)
        cut = position if position.pending else _next_piece(replica_log, position)
        if cut is None:
            self._positions[replica_log.replica] = position
            return False
        self._keep(replica_log, cut)
        self._positions[replica_log.replica] = self._send(replica_log, cut)
        return True

    def _send(self, replica_log: ReplicaLog, cut: Position) -> Position:
        text = _text(replica_log, cut)
        if text is None:  # deleted since it was cut: what follows must not look like it
            return replace(cut, end=cut.start, lost=True).next_epoch()
        segment = LogSegment(
            service=replica_log.service,
            replica=replica_log.replica,
            epoch=cut.epoch,
            sequence=cut.sequence,
            text=text,
        )
        try:
            receipt = self._home.send_log(segment)
        except Conflict:
            self._keep(replica_log, cut.next_epoch())
            raise
        return self._after(replica_log, cut, receipt.next)

    def _after(self, replica_log: ReplicaLog, cut: Position, expected: int) -> Position:
        if expected == cut.sequence + 1:
            return cut.arrived()
        self._keep(replica_log, cut.next_epoch())
        raise Unavailable(
            f"piece {cut.sequence} of the log of {replica_log.replica} was answered with "
            f"{expected}: server or agent lost its state, and a new epoch begins"
        )

    def _keep(self, replica_log: ReplicaLog, position: Position) -> None:
        self._positions[replica_log.replica] = position
        replace_file(replica_log.position, json.dumps(asdict(position)), durable=False)

    def _forget(self, replicas: Collection[str]) -> None:
        for replica in replicas:
            self._positions.pop(replica, None)
            self._pauses.pop(replica, None)


def _load(replica_log: ReplicaLog) -> Position:
    try:
        document = json.loads(replica_log.position.read_bytes())
        if not all(isinstance(value, int) for value in document.values()):
            raise ValueError("not a position")
        return Position(**document)
    except (OSError, ValueError, TypeError, AttributeError):  # never sent, or damaged
        return Position(epoch=int(time.time()))


def _next_piece(replica_log: ReplicaLog, position: Position) -> Position | None:
    """The next whole lines that were not sent; None when there are none."""
    for number in log_files(replica_log.folder):
        if number < position.file:
            continue
        if number > position.file:
            lost = position.lost or _missing(replica_log, position, number)
            position = replace(position, file=number, start=0, end=0, lost=lost)
        end = position.start + len(_whole_lines(replica_log, position))
        if end > position.start:
            return replace(position, end=end)
    return None


def _missing(replica_log: ReplicaLog, position: Position, following: int) -> bool:
    """Whether lines between the position and the following file were deleted."""
    gone = position.file > 0 and not log_file(replica_log.folder, position.file).exists()
    return gone or following > position.file + 1


def _whole_lines(replica_log: ReplicaLog, position: Position) -> bytes:
    data = _read(replica_log, position.file, position.start, _LARGEST_PIECE) or b""
    return data[: data.rfind(b"\n") + 1]


def _text(replica_log: ReplicaLog, cut: Position) -> str | None:
    data = _read(replica_log, cut.file, cut.start, cut.end - cut.start)
    if data is None:
        return None
    note = "[agent] lines before this one were lost\n" if cut.lost else ""
    return note + data.decode(errors="replace")


def _read(replica_log: ReplicaLog, number: int, start: int, size: int) -> bytes | None:
    try:
        with log_file(replica_log.folder, number).open("rb") as file:
            file.seek(start)
            return file.read(size)
    except FileNotFoundError:
        return None
