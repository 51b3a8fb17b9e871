"""The life of one replica: start its runtime, watch it, start it again, end it.

One thread, one event loop; time is looked at once a turn. What is known is published in
`state.json` and on the control socket.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import time
from pathlib import Path
from typing import Any

from modelyard.agent.supervisor import causes, control, processes, system
from modelyard.agent.supervisor.log import LineLog, stamp
from modelyard.agent.supervisor.run import Run
from modelyard.agent.supervisor.spec import LOG, RUNTIME_STATUS, STATE, Spec
from modelyard.images import foreign_file

_BACKLOG = 1024
_SHORT_TURN = 0.02  # seconds between two looks while something is about to happen
_OUTPUT_CHUNK = 64 << 10
_MOST_CHUNKS = 16  # a turn, so that a flood of output does not starve the rest
_LONGEST_DRAIN = 3600
_ABORT_GRACE = 1.0  # seconds in which a hung start may write its traceback
_ENGINE_GRACE = 10.0  # seconds in which an engine has to kill a container


class Backoff:
    """The delay before the next start: doubles with each failure, begins anew once stable."""

    def __init__(self, first: float, longest: float, stable_after: float) -> None:
        self._first, self._longest, self._stable_after = first, longest, stable_after
        self._failures = 0

    def after(self, ready_for: float) -> float:
        """Seconds to wait after a runtime ended that had been ready for `ready_for` seconds."""
        if ready_for >= self._stable_after:
            self._failures = 0
        delay = self._first * 2.0 ** min(self._failures, 32)
        self._failures += 1
        return min(delay, self._longest)


class Supervisor:
    """Keeps one replica running until it is told to stop."""

    def __init__(self, folder: Path, spec: Spec) -> None:
        self._folder = folder
        self._spec = spec
        self._log = LineLog(folder / LOG)
        self._selector = selectors.DefaultSelector()
        self._listener = None if spec.contained else control.listen(spec.socket, _BACKLOG)
        control.ControlSocket(spec.control, self._selector, self._obey)
        self._output, self._output_end = os.pipe()
        os.set_blocking(self._output, False)
        self._selector.register(self._output, selectors.EVENT_READ, self._read_output)
        self._backoff = Backoff(*spec.restarts)
        self._started_at = stamp(time.time())
        self._run: Run | None = None
        self._run_started_at: str | None = None
        self._started = False
        self._restarts = 0
        self._failures = 0
        self._cause: causes.Cause | None = None
        self._next_start = 0.0
        self._next_memory = 0.0
        self._told_to_end = False
        self._stopping = False
        self._published: dict[str, Any] = {}

    def run(self) -> None:
        """Supervise until told to stop."""
        system.adopt_orphans()
        self._resume()
        self._listen_to_signals()
        while not (self._stopping and self._run is None):
            self._turn(time.monotonic())
            for key, _ in self._selector.select(self._patience(time.monotonic())):
                key.data()
        self._publish()
        for path in (self._spec.socket, self._spec.control):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def state(self) -> dict[str, Any]:
        """Everything that is known of the replica."""
        run = self._run
        return {
            "replica": self._spec.replica,
            "labels": self._spec.labels,
            "pid": os.getpid(),
            "started_at": self._started_at,
            "phase": self._phase(),
            "restarts": self._restarts + (run.workers_lost if run else 0),
            "failures": self._failures,
            "cause": self._cause,
            "last_failure": run.last_failure if run else None,
            "memory": run.memory.latest if run else 0,
            "address": (run.address if run else None) or self._spec.socket,
            "runtime": run.pid if run else None,
            "runtime_started_at": self._run_started_at if run else None,
        }

    def _phase(self) -> str:
        if self._stopping:
            return "draining" if self._run else "stopped"
        if self._run is None:
            return "failed" if self._failures else "starting"
        if self._run.ended_for is not None:
            return "draining" if self._run.ended_for == "order" else "failed"
        return "ready" if self._run.ready else "starting"

    def _resume(self) -> None:
        """Take over from an earlier life that was killed: end its processes, go on counting."""
        ended = processes.kill_leftovers(self._folder)
        try:
            earlier = json.loads((self._folder / STATE).read_bytes())
            if earlier["phase"] != "stopped":
                self._started, self._restarts = True, int(earlier["restarts"])
                self._note(f"this supervisor replaces one that was lost, with {ended} processes")
        except (OSError, ValueError, LookupError, TypeError):
            return  # the first life, or a state that was damaged with the machine

    def _listen_to_signals(self) -> None:
        receiving, sending = socket.socketpair()
        for end in (receiving, sending):
            end.setblocking(False)
        self._wakeup = sending  # kept open for the signal handlers
        signal.set_wakeup_fd(sending.fileno(), warn_on_full_buffer=False)
        self._selector.register(receiving, selectors.EVENT_READ, lambda: receiving.recv(4096))
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._note_end_signal)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def _note_end_signal(self, *_: object) -> None:
        self._told_to_end = True

    def _turn(self, now: float) -> None:
        self._reap(now)
        if self._told_to_end and not self._stopping:
            self._stop(self._spec.limits.drain_timeout)
        if self._run is not None:
            self._watch(self._run, now)
        elif not self._stopping and now >= self._next_start:
            self._start(now)
        self._publish()

    def _patience(self, now: float) -> float:
        """Seconds until something has to be looked at."""
        if self._run is None:
            return 0.0 if self._stopping else max(0.0, self._next_start - now)
        if not self._run.ready or self._run.kill_at is not None:
            return _SHORT_TURN
        return system.SAMPLE_INTERVAL

    def _start(self, now: float) -> None:
        status = self._folder / RUNTIME_STATUS
        foreign_file.remove(status)
        self._log.tail.clear()
        listener = None if self._listener is None else self._listener.fileno()
        pid = processes.start(self._spec, listener, self._output_end)
        self._run = Run(pid, status, now, contained=self._spec.contained)
        self._run_started_at = stamp(time.time())
        self._restarts += self._started
        self._started = True
        self._note(f"started as process {pid}{self._where()}")

    def _where(self) -> str:
        return f"; {self._spec.sandbox}" if self._spec.sandbox else ""

    def _watch(self, run: Run, now: float) -> None:
        was_ready = run.ready
        run.look_at_status(now)
        if run.ready_for(now) >= self._spec.restarts.stable_after:
            self._failures, self._cause = 0, None
        # What has just loaded too much must not be called ready, not even for a moment.
        if now >= self._next_memory or (run.ready and not was_ready):
            self._next_memory = now + system.SAMPLE_INTERVAL
            self._hold_to_memory(run, now)
            self._hold_to_files()
        if run.kill_at is None and run.overdue(self._spec, now):
            run.ended_for, run.kill_at = "startup", now + _ABORT_GRACE
            processes.abort(run.pid, self._spec.depth)
        if run.kill_at is not None and now >= run.kill_at:
            self._kill(run, now)

    def _kill(self, run: Run, now: float) -> None:
        if self._spec.contained and not run.told_to_kill:
            run.told_to_kill, run.kill_at = True, now + _ENGINE_GRACE
            processes.kill_container(run.pid)
        else:
            processes.kill_everything(run.pid)

    def _hold_to_memory(self, run: Run, now: float) -> None:
        limit = self._spec.limits.memory
        if run.memory.look(limit, now) > limit and run.ended_for != "memory":
            run.ended_for, run.kill_at = "memory", now

    def _hold_to_files(self) -> None:
        """End when somebody deleted the sockets or the folder: nobody can reach this any more."""
        needed = [Path(self._spec.control), self._folder]
        if self._listener is not None:
            needed.append(Path(self._spec.socket))
        if not all(path.exists() for path in needed):
            self._note("sockets or folder were deleted: ending")
            self._told_to_end = True

    def _reap(self, now: float) -> None:
        """Collect ended children; orphans that were adopted are among them."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if self._run is not None and pid == self._run.pid:
                self._ended(self._run, processes.exit_code(status, self._spec.depth), now)

    def _ended(self, run: Run, status: int, now: float) -> None:
        processes.kill_everything(run.pid)
        run.look_at_status(now)
        self._read_all_output()
        self._run = None
        self._restarts += run.workers_lost
        cause = run.why_ended(self._spec, status, list(self._log.tail))
        if cause is None:
            self._next_start = now
            self._note("ended as told")
            return
        self._cause = cause
        self._failures += 1
        delay = self._backoff.after(run.ready_for(now))
        self._next_start = now + delay
        self._note(f"ended: {cause['message']} (next start in {delay:g} s)")

    def _obey(self, request: dict[str, Any]) -> dict[str, Any]:
        match request.get("do"):
            case "status":
                pass
            case "stop":
                self._stop(_drain_time(request, self._spec.limits.drain_timeout))
            case "restart":
                self._end_run(self._spec.limits.drain_timeout)
            case unknown:
                raise ValueError(f"`do` is {unknown!r:.50}, not status, stop or restart")
        return self.state()

    def _stop(self, drain: float) -> None:
        self._stopping = True
        self._end_run(drain)

    def _end_run(self, drain: float) -> None:
        if self._run is None:
            self._next_start = 0.0
            return
        kill_at = time.monotonic() + drain
        if self._run.ended_for is None:
            self._run.ended_for, self._run.kill_at = "order", kill_at
            processes.terminate(self._run.pid, self._spec.depth)
        elif self._run.kill_at is not None:
            self._run.kill_at = min(self._run.kill_at, kill_at)

    def _read_output(self) -> bool:
        """Take in what the runtime wrote; true when there may be more."""
        for _ in range(_MOST_CHUNKS):
            try:
                self._log.feed(os.read(self._output, _OUTPUT_CHUNK), time.time())
            except BlockingIOError:
                return False
        return True

    def _read_all_output(self) -> None:
        while self._read_output():
            pass
        self._log.finish(time.time())

    def _note(self, text: str) -> None:
        self._log.note(text, time.time())

    def _publish(self) -> None:
        """Write `state.json` when something changed; memory and failures alone do not count."""
        state = self.state()
        lasting = {**state, "memory": 0, "last_failure": None}
        if lasting == self._published:
            return
        temporary = self._folder / f".{STATE}"
        with contextlib.suppress(OSError):  # a full disk: the control socket still answers
            temporary.write_text(json.dumps(state))
            os.replace(temporary, self._folder / STATE)
            self._published = lasting


def _drain_time(request: dict[str, Any], default: float) -> float:
    drain = request.get("drain", default)
    if not isinstance(drain, int | float) or not 0 <= drain <= _LONGEST_DRAIN:
        raise ValueError(f"`drain` is not a number of seconds up to {_LONGEST_DRAIN}")
    return float(drain)
