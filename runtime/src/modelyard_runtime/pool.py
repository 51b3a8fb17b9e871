"""Keeps the workers of a replica running: forks them, replaces the dead, drains them at the end.

Runs in the process that has loaded the script, or, where that cannot be forked, in one that has
not. It never scores, and it has no event loop of its own that a fork would inherit.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from modelyard_runtime import status
from modelyard_runtime.board import Board
from modelyard_runtime.config import Config
from modelyard_runtime.forking import Child, Message, Uplink, fork, reap_orphans
from modelyard_runtime.status import StatusFile
from modelyard_runtime.worker import EXIT_STUCK

EXIT_FAILED_START = 3

_STEADY = 60.0
"""Seconds after which a worker counts as healthy: if it dies then, it is replaced at once."""
_FIRST_DELAY, _LONGEST_DELAY = 0.1, 10.0
_MOST_FAILURES = 10
_POLL = 0.5
_KILL_AFTER = 2.0
"""Seconds past the drain timeout after which workers are killed."""
_SILENCE = 5.0
"""Seconds past the scoring timeout without a heartbeat, after which a worker counts as stuck in
code that lets nothing else run."""


class Signals:
    """SIGTERM as a flag, and a descriptor that becomes readable at any signal."""

    def __init__(self) -> None:
        self.terminated = False
        self.fd, self._write = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self._write, False)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._terminate)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)

    def wait(self, children: list[Child], timeout: float) -> None:
        """Sleep until a signal, a report, or the end of the timeout (seconds)."""
        fds = [self.fd, *(child.news for child in children)]
        if self.fd in select.select(fds, [], [], max(timeout, 0))[0]:
            os.read(self.fd, 4096)

    def _terminate(self, number: int, frame: object) -> None:
        self.terminated = True


@dataclass(slots=True)
class _Slot:
    child: Child | None = None
    ready: bool = False
    began: float = 0.0
    due: float = 0.0
    failures: int = 0


@dataclass(frozen=True, slots=True)
class _Leaving:
    """A stuck worker that answers what else it has, while its successor already serves."""

    child: Child
    deadline: float


class Pool:
    """The workers of one replica.

    Args:
        begin: Called in a new process with its slot and its way up; returns its exit status.
    """

    def __init__(
        self,
        config: Config,
        status_file: StatusFile,
        board: Board,
        signals: Signals,
        begin: Callable[[int, Uplink], int],
    ) -> None:
        self._config = config
        self._status = status_file
        self._board = board
        self._signals = signals
        self._begin = begin
        self._slots = [_Slot() for _ in range(config.workers)]
        self._leaving: list[_Leaving] = []
        self._was_ready = False
        self._failure: int | None = None

    def adopt(self, child: Child, messages: list[Message]) -> None:
        """Take over a process that has become the worker of the first slot, and its reports."""
        self._slots[0] = _Slot(child, began=time.monotonic())
        self._board.set_pid(0, child.pid)
        self._note(self._slots[0], messages)

    def run(self) -> int:
        """Keep the workers running until SIGTERM. Returns the exit status of the replica."""
        while self._failure is None and not self._signals.terminated:
            now = time.monotonic()
            for number, slot in enumerate(self._slots):
                self._look_after(number, slot, now)
            self._see_off(now)
            reap_orphans(self._children())
            self._tell()
            due = [slot.due for slot in self._slots if slot.child is None]
            self._signals.wait(self._children(), min([_POLL, *(at - now for at in due)]))
        self._end()
        return self._failure or 0

    def _children(self) -> list[Child]:
        working = [slot.child for slot in self._slots if slot.child]
        return working + [leaving.child for leaving in self._leaving]

    def _look_after(self, number: int, slot: _Slot, now: float) -> None:
        if slot.child is None:
            if now >= slot.due:
                self._fork(number, slot)
            return
        self._end_if_silent(number, slot, slot.child, now)
        ended = slot.child.reap()
        is_leaving = self._note(slot, slot.child.messages())
        if ended is not None:
            self._bury(number, slot, slot.child, ended, now)
        elif is_leaving:
            deadline = now + self._config.drain_timeout + _KILL_AFTER
            self._leaving.append(_Leaving(slot.child, deadline))
            self._vacate(number, slot, now)

    def _fork(self, number: int, slot: _Slot) -> None:
        self._board.beat(number, 0)
        forked = fork(self._children())
        if isinstance(forked, Uplink):
            raise SystemExit(self._begin(number, forked))
        slot.child = forked
        slot.began = time.monotonic()
        self._board.set_pid(number, forked.pid)

    def _note(self, slot: _Slot, messages: list[Message]) -> bool:
        """Take note of what a worker reports; whether it is leaving."""
        is_leaving = False
        for message in messages:
            if "ready" in message:
                slot.ready = True
            if "leaving" in message:
                is_leaving = True
            if "failure" in message:
                self._status.update(last_failure=message["failure"])
            if "cause" in message:
                phase = {} if self._was_ready else {"phase": status.FAILED}
                self._status.update(cause=message["cause"], **phase)
        return is_leaving

    def _end_if_silent(self, number: int, slot: _Slot, child: Child, now: float) -> None:
        last = self._board.last_beat(number)
        if last and now - last > self._config.scoring_timeout + _SILENCE:
            _say(f"worker {child.pid} lets nothing but `run()` execute; it is killed")
            child.kill(signal.SIGKILL)

    def _bury(self, number: int, slot: _Slot, child: Child, ended: int, now: float) -> None:
        _say(f"worker {child.pid} {_describe(ended)}")
        child.close()
        self._vacate(number, slot, now)
        if not self._was_ready:
            self._failure = ended or EXIT_FAILED_START

    def _vacate(self, number: int, slot: _Slot, now: float) -> None:
        """Have a worker replaced: at once the first time, then with ever longer delays."""
        slot.child = None
        slot.ready = False
        self._board.set_ready(number, False)
        self._board.set_pid(number, 0)
        if now - slot.began > _STEADY:
            slot.failures = 0
        delay = _FIRST_DELAY * 2**slot.failures if slot.failures else 0.0
        slot.due = now + min(delay, _LONGEST_DELAY)
        slot.failures = min(slot.failures + 1, _MOST_FAILURES)
        self._board.restarts += 1

    def _see_off(self, now: float) -> None:
        for leaving in list(self._leaving):
            leaving.child.messages()  # what nobody takes would wake this process again and again
            ended = leaving.child.reap()
            if ended is not None:
                _say(f"worker {leaving.child.pid} {_describe(ended)}")
                leaving.child.close()
                self._leaving.remove(leaving)
            elif now > leaving.deadline:
                leaving.child.kill(signal.SIGKILL)

    def _tell(self) -> None:
        pids = [slot.child.pid for slot in self._slots if slot.child and slot.ready]
        changes: dict[str, Any] = {"workers": pids, "worker_restarts": self._board.restarts}
        if len(pids) == len(self._slots):
            self._was_ready = True
            changes["cause"] = None
        if self._was_ready:
            changes["phase"] = status.READY if pids else status.INITIALISING
        self._status.update(**changes)

    def _end(self) -> None:
        patience = _KILL_AFTER
        if self._failure is None:
            patience += self._config.drain_timeout
            self._status.update(phase=status.DRAINING)
        for child in self._children():
            child.kill(signal.SIGTERM)
        deadline = time.monotonic() + patience
        while self._children():
            if time.monotonic() > deadline:
                for child in self._children():
                    child.kill(signal.SIGKILL)
            self._signals.wait(self._children(), _POLL / 5)
            self._forget_ended()

    def _forget_ended(self) -> None:
        self._see_off(time.monotonic())
        for slot in self._slots:
            if slot.child is None:
                continue
            slot.child.messages()
            if slot.child.reap() is not None:
                slot.child.close()
                slot.child = None


def _describe(ended: int) -> str:
    if ended == EXIT_STUCK:
        return "has left because a call of `run()` did not end in time"
    if ended < 0:
        return f"was ended by {signal.Signals(-ended).name}"
    return f"exited with status {ended}"


def _say(text: str) -> None:
    sys.stderr.write(f"modelyard: {text}\n")
