"""The parent of a gateway's processes: one per folder; listens, forks, reports, and never serves.

It holds the listening socket and the last good configuration, so a process that dies is replaced
by one that knows as much, also with the disk gone. It has no event loop that a fork would inherit.
"""

from __future__ import annotations

import fcntl
import logging
import os
import select
import signal
import socket
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import modelyard
from modelyard.agent.gateway import files
from modelyard.agent.gateway.admission import Refusals
from modelyard.agent.gateway.board import Board
from modelyard.agent.gateway.following import Follower
from modelyard.agent.gateway.handover import Door, Giver, Taken
from modelyard.agent.gateway.listening import Address
from modelyard.agent.gateway.loads import LoadFile, draining, loads
from modelyard.agent.gateway.process import TICK, Process
from modelyard.agent.gateway.status import GatewayStatus, RefusedRequests, StatusFile
from modelyard.agent.gateway.watching import PATIENCE, Watch
from modelyard.errors import Conflict
from modelyard_runtime.forking import Child, Message, Uplink, fork

_LISTEN_AGAIN = 1.0  # seconds between attempts to listen where something else does
_STEADY = 10.0  # seconds after which a process that ends is replaced at once
_FIRST_DELAY, _LONGEST_DELAY = 0.1, 5.0  # seconds before the replacement of one that did not last

_log = logging.getLogger("modelyard.gateway")


def lock_folder(folder: Path) -> IO[str]:
    """Become the one gateway of a folder, as long as the returned file is open.

    Raises:
        Conflict: A gateway already runs there.
    """
    lock = (folder / files.LOCK).open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise Conflict(f"a gateway already runs for `{folder}`") from None
    return lock


class Parent:
    """Everything about a gateway that is not a request.

    Args:
        folder: Its folder.
        address: Where it listens.
        count: How many processes serve.
        lock: The lock of the folder, which only this process is to hold.
        arguments: Of the command, for its status.
        taken: What the gateway before has given, which serves until this one does; None: there is
            none before.
        patience: Seconds without a sign of life after which a process is ended and replaced.
    """

    def __init__(
        self,
        folder: Path,
        address: Address,
        count: int,
        lock: IO[str],
        arguments: tuple[str, ...],
        taken: Taken | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self._folder = folder
        self._address = address
        self._count = count
        self._lock = lock
        self._arguments = arguments
        self._follower = Follower(folder / files.CONFIG)
        self._door = Door(folder)
        self._taken = taken
        self._board = (taken.board if taken else None) or Board.make()
        self._generation = self._board.reserve()
        self._status = StatusFile(folder / files.STATUS)
        self._loads = LoadFile(folder / files.LOADS)
        self._pid = os.getpid()
        self._started_at = datetime.now(UTC).isoformat()
        self._listener: socket.socket | None = None
        self._port = 0
        self._listen_at = 0.0
        self._cause: dict[str, Any] | None = None
        self._refused: dict[str, Refusals] = {}
        self._children: dict[Child, float] = {}
        """Each with the time of its start."""
        self._ready: set[Child] = set()
        self._watch = Watch(patience)
        self._failures = 0
        self._fork_at = 0.0
        self._signals = _Signals()
        self._giver: Giver | None = None
        if taken is None:
            self._take_charge()
        elif taken.is_for(address):
            self._use(taken.listener)
        else:
            taken.listener.close()

    def run(self) -> int:
        """Have requests served until SIGTERM, then finish what is in flight; returns 0.

        A second SIGTERM cuts that short. It returns at once when another gateway has taken over;
        and in the processes that serve with their exit status.

        Raises:
            Conflict: The gateway before knows or can what this one does not: it serves on.
        """
        while not self._signals.ends:
            now = time.monotonic()
            self._follower.look(now)
            self._listen(now)
            if self._taken is not None:
                self._check(self._taken)
            self._end_hung(now)
            self._reap(now)
            status = self._fork_missing(now)
            if status is not None:
                return status
            if self._taken is None:
                self._tell(now)
            elif len(self._ready) == self._count:
                self._take_over(self._taken)
            if self._wait():
                return 0
        self._end()
        return 0

    def _listen(self, now: float) -> None:
        """Listen as soon as that is possible."""
        if self._listener is not None or now < self._listen_at:
            return
        self._listen_at = now + _LISTEN_AGAIN
        self._cause = self._follower.lacks
        if self._cause is not None:
            return  # lest keys are sent in the clear
        try:
            self._use(self._address.listen())
        except OSError as error:
            self._cause = self._address.explain(error)

    def _use(self, listener: socket.socket) -> None:
        self._listener = listener
        self._port = listener.getsockname()[1]
        if self._door.socket is not None:
            self._giver = Giver(
                self._door.socket,
                self._address.wanted,
                listener,
                self._board,
                self._generation,
                self._lock,
            )

    def _check(self, taken: Taken) -> None:
        """See that nothing gets worse.

        Raises:
            Conflict: It would.
        """
        cause = self._follower.lacks or self._cause
        reason = self._follower.error or (cause and cause["message"])
        if not reason and self._follower.config.version < taken.version:
            reason = f"it has no configuration of version {taken.version}"
        if reason:
            raise Conflict(
                f"the gateway that runs serves on, because another one cannot: {reason}",
                hint="put that right; it is tried again",
                details={"cause": cause} if cause else {},
            )

    def _take_over(self, taken: Taken) -> None:
        self._take_charge()
        taken.go()
        self._taken = None

    def _take_charge(self) -> None:
        (self._folder / files.REFUSAL).unlink(missing_ok=True)
        self._board.supersede(self._generation)
        self._door.open()

    def _fork_missing(self, now: float) -> int | None:
        """Start the processes that are missing; in such a process, serve: its exit status."""
        while self._listener and len(self._children) < self._count and now >= self._fork_at:
            forked = fork(self._children, outliving=True)
            if isinstance(forked, Uplink):
                return self._serve(self._listener, forked)
            self._children[forked] = now
        return None

    def _serve(self, listener: socket.socket, uplink: Uplink) -> int:
        self._lock.close()
        self._signals.close()
        if self._taken is not None:
            self._taken.giver.close()
        return Process(
            self._folder,
            listener,
            self._follower,
            self._board,
            uplink,
            self._generation,
            self._giver and self._giver.without_lock(),
        ).run()

    def _end_hung(self, now: float) -> None:
        """End processes that hang: they would keep what they have, and hold back the version."""
        self._board.clear_dead()  # those of earlier gateways are nobody's children
        beats = dict.fromkeys((child.pid for child in self._children), 0) | self._board.beats()
        for pid in self._watch.hung(now, beats):
            _log.error("process %d of the gateway hangs, and is ended", pid)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _reap(self, now: float) -> None:
        """Note what the processes tell, and bury those that have ended."""
        for child, began in list(self._children.items()):
            ended = child.reap()
            self._note(child, child.messages())
            if ended is None:
                continue
            child.close()
            del self._children[child]
            self._ready.discard(child)
            self._board.clear_dead()  # at once, because others may wait for what it had
            if not self._signals.ends:
                _log.error("process %d of the gateway %s", child.pid, _describe(ended))
                self._failures = 0 if now - began > _STEADY else self._failures + 1
                self._fork_at = now + self._delay()

    def _delay(self) -> float:
        """Seconds before the next replacement: at once the first time, then ever longer."""
        if self._failures < 2:
            return 0.0
        return min(_FIRST_DELAY * 2.0 ** min(self._failures - 2, 10), _LONGEST_DELAY)

    def _note(self, child: Child, messages: list[Message]) -> None:
        for message in messages:
            if "ready" in message:
                self._ready.add(child)
            for name, told in message.get("refused", {}).items():
                refused = Refusals(**told)
                known = self._refused.get(name)
                if known is not None:
                    refused.count += known.count
                    if known.last_at > refused.last_at:
                        refused.last_at = known.last_at
                        refused.key_id, refused.client = known.key_id, known.client
                self._refused[name] = refused

    def _tell(self, now: float) -> None:
        loads_now = loads(self._board, self._follower.config)
        if loads_now:
            self._loads.publish(loads_now)
        self._publish(now)

    def _publish(self, now: float) -> None:
        if self._taken is not None:
            return  # there is another one, still
        version = min(self._board.versions(), default=self._follower.config.version)
        # Only now: who serves that version sends nothing more to replicas that are not in it.
        status = GatewayStatus(
            pid=self._pid,
            version=modelyard.__version__,
            arguments=self._arguments,
            started_at=self._started_at,
            processes=tuple(sorted(child.pid for child in self._ready)),
            url=self._url(),
            config_version=version,
            config_error=self._follower.error,
            clients_error=self._follower.clients.problem,
            cause=self._cause or self._follower.lacks,
            refused={
                name: RefusedRequests(
                    refusals.count,
                    datetime.fromtimestamp(refusals.last_at, UTC).isoformat(),
                    refusals.key_id,
                    refusals.client,
                )
                for name, refusals in self._refused.items()
            },
            draining=draining(self._board, self._follower.config),
        )
        self._status.publish(status, now)

    def _url(self) -> str | None:
        if not self._port:
            return None
        return self._address.url(self._port, secure=self._follower.config.certificate is not None)

    def _wait(self) -> bool:
        """Sleep until there is something to do; whether another gateway has taken over."""
        asked = [self._giver.watched] if self._giver and self._taken is None else []
        news = [child.news for child in self._children]
        ready = self._signals.wait([*asked, *news], TICK)
        if self._signals.hurries():
            self._signal(signal.SIGHUP)
        return any(fd in ready for fd in asked) and self._giver is not None and self._giver.turn()

    def _end(self) -> None:
        if self._listener is not None:
            self._listener.close()  # once all have, callers are told at once that nobody listens
        if self._giver is not None:
            self._giver.close()
            self._giver = None
        self._signal(signal.SIGTERM)
        is_cut = False
        while self._children:
            now = time.monotonic()
            self._follower.look(now)
            self._end_hung(now)
            self._reap(now)
            self._publish(now)
            if self._signals.ends > 1 and not is_cut:
                is_cut = True
                self._signal(signal.SIGKILL)
            self._wait()
        self._port = 0
        self._publish(time.monotonic())

    def _signal(self, number: signal.Signals) -> None:
        for child in self._children:
            child.kill(number)


class _Signals:
    """How often the end was asked for, and a way to sleep that any signal ends."""

    def __init__(self) -> None:
        self.ends = 0
        self._hurries = False
        self._fd, self._write = os.pipe()
        os.set_blocking(self._fd, False)
        os.set_blocking(self._write, False)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        signal.signal(signal.SIGHUP, self._hurry)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)

    def wait(self, watched: list[int], timeout: float) -> list[int]:
        """Sleep until a signal, something to read, or the end of the timeout (seconds)."""
        ready = select.select([self._fd, *watched], [], [], timeout)[0]
        if self._fd in ready:
            os.read(self._fd, 4096)
        return ready

    def hurries(self) -> bool:
        """Whether SIGHUP has come since the last call."""
        hurries, self._hurries = self._hurries, False
        return hurries

    def close(self) -> None:
        """In a new process: these are the parent's."""
        os.close(self._fd)
        os.close(self._write)

    def _end(self, number: int, frame: object) -> None:
        self.ends += 1

    def _hurry(self, number: int, frame: object) -> None:
        self._hurries = True


def _describe(ended: int) -> str:
    if ended < 0:
        return f"was ended by {signal.Signals(-ended).name}; another one takes its place"
    return f"exited with status {ended}; another one takes its place"
