"""The life of one container: created or taken over, followed to its end, removed.

Nothing here decides whether it is started again: that is the supervisor's.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modelyard.agent.container import ownership, refusals, share
from modelyard.agent.container.spec import PORT, SPECIFICATION_LABEL, ContainerSpec
from modelyard.agent.engine.address import parse_address
from modelyard.agent.engine.client import Engine
from modelyard.agent.engine.problems import EngineProblem, NoEngine, NoSuchObject
from modelyard.agent.supervisor.spec import RUNTIME_STATUS

EXIT_REFUSED = 1
_SHORT_TURN = 0.02  # seconds between two looks at the container's status until it is ready
_LONG_TURN = 0.2
_MEMORY_EVERY = 1.0
_RECONNECT = 0.2
_EVIDENCE = 4096  # bytes of the output that may say why it did not begin
_TRIES = 25
_MOST_STATUS = 256
_SIGNALLED = 128  # what engines add to the number of a signal
_RELAYED = {signal.SIGTERM: "SIGTERM", signal.SIGABRT: "SIGABRT"}


class Holder:
    """Holds the container of one replica's folder."""

    def __init__(self, folder: Path, spec: ContainerSpec) -> None:
        self._spec = spec
        self._engine = Engine(parse_address(spec.engine, "container.json"))
        self._share = Path(spec.share)
        self._told = folder / RUNTIME_STATUS
        self._orders: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._ended = threading.Event()
        self._shown = False
        self._killed = False
        self._lost: EngineProblem | None = None
        self._last_output = b""
        self._memory = 0
        self._memory_due = 0.0
        self._address: str | None = spec.socket or None
        self._published: dict[str, Any] = {}

    def run(self) -> int:
        """Hold it to its end. Returns its exit status, or minus the signal that ended it."""
        for number in (signal.SIGTERM, signal.SIGABRT, signal.SIGINT):
            signal.signal(number, lambda number, _: self._orders.put(number))
        try:
            output = self._bring_up()
        except (EngineProblem, OSError) as problem:
            return self._refused(problem)
        threading.Thread(target=self._follow, args=(output,), daemon=True).start()
        while not self._ended.is_set():
            self._obey()
            self._relay(time.monotonic())
            self._ended.wait(_LONG_TURN if self._shown else _SHORT_TURN)
        return self._bury()

    def _bring_up(self) -> Iterator[bytes]:
        """Take over the container that an earlier holder left, or create and start one."""
        name = self._spec.name
        if self._runs_as_wanted():
            output = self._engine.output(name)
            _say(f"took over the running container {name}")
        else:
            ownership.remove(self._engine, self._spec)
            share.prepare(self._share, self._spec.config)
            for warning in self._engine.create(name, self._spec.body):
                _say(f"the engine warns: {warning}")
            output = self._engine.output(name)
            self._engine.start(name)
            _say(f"started container {name}")
        if not self._spec.socket:
            self._address = self._published_port()
        return output

    def _runs_as_wanted(self) -> bool:
        found = ownership.find(self._engine, self._spec)
        if found is None or _inside(found, "State").get("Running") is not True:
            return False
        wanted = self._spec.body["Labels"][SPECIFICATION_LABEL]
        return bool(ownership.labels(found).get(SPECIFICATION_LABEL) == wanted)

    def _published_port(self) -> str:
        ports = _inside(
            _inside(self._engine.inspect(self._spec.name), "NetworkSettings"), "Ports"
        ).get(f"{PORT}/tcp")
        for binding in ports if isinstance(ports, list) else ():
            if isinstance(binding, dict) and str(binding.get("HostPort")).isdigit():
                return f"127.0.0.1:{binding['HostPort']}"
        raise NoEngine(f"the engine published no port of container {self._spec.name}")

    def _refused(self, problem: EngineProblem | OSError) -> int:
        if isinstance(problem, EngineProblem):
            cause = refusals.why(problem, self._spec)
        else:
            message = f"The folder of the container cannot be made: {problem}"
            cause = {"code": "internal", "message": message, "evidence": [], "fix": ""}
        _say(cause["message"])
        self._publish({"phase": "failed", "cause": cause})
        self._remove()
        return EXIT_REFUSED

    def _follow(self, output: Iterator[bytes]) -> None:
        """Pass on what the container writes until it has ended; in a thread of its own."""
        while not self._ended.is_set():
            try:
                for chunk in output:
                    _write_whole(chunk)
                    self._last_output = (self._last_output + chunk)[-_EVIDENCE:]
                if not _inside(self._engine.inspect(self._spec.name), "State").get("Running"):
                    break
                output = self._engine.output(self._spec.name)
            except NoSuchObject:
                break
            except EngineProblem as problem:
                # An engine that is being restarted: its containers may live on without it.
                if isinstance(problem, NoEngine) and not self._answers():
                    self._lost = problem
                    break
                output = iter(())
                time.sleep(_RECONNECT)
        self._ended.set()

    def _answers(self) -> bool:
        """Whether somebody listens where the replica does: the one sign of life without engine."""
        if self._address is None or not self._shown:
            return False
        try:
            with _connection(self._address):
                return True
        except OSError:
            return False

    def _obey(self) -> None:
        while not self._orders.empty():
            number = self._orders.get()
            try:
                if number == signal.SIGINT:
                    self._killed = True
                    ownership.remove(self._engine, self._spec)
                else:
                    self._engine.signal(self._spec.name, _RELAYED[signal.Signals(number)])
            except EngineProblem as problem:
                _say(f"signal {number} did not reach the container: {problem.message}")

    def _relay(self, now: float) -> None:
        """Tell the supervisor what the runtime tells, once it can be reached."""
        status = share.read_status(self._share)
        ready = status.get("phase") == "ready"
        if ready and not self._shown:
            self._shown = self._is_reachable()
        if ready and not self._shown:
            status = {**status, "phase": "initialising"}
        if now >= self._memory_due:
            self._memory_due = now + _MEMORY_EVERY
            self._look_at_memory()
        self._publish({"phase": "starting", **status})

    def _is_reachable(self) -> bool:
        if self._spec.socket:
            return share.show_socket(self._share, Path(self._spec.socket))
        return True

    def _look_at_memory(self) -> None:
        try:
            self._memory = self._engine.memory(self._spec.name)
        except EngineProblem:
            return  # ended, or the engine is being restarted

    def _publish(self, status: dict[str, Any]) -> None:
        told = {
            "phase": status.get("phase"),
            "cause": status.get("cause"),
            "worker_restarts": status.get("worker_restarts"),
            "memory": self._memory,
            "address": self._address,
        }
        if told == self._published:
            return
        temporary = self._told.with_name(f".{self._told.name}")
        try:
            temporary.write_text(json.dumps(told))
            temporary.replace(self._told)
            self._published = told
        except OSError as error:  # a full disk: the next look tries again
            _say(f"cannot write the status: {error}")

    def _bury(self) -> int:
        """Find out how the container ended, and remove it."""
        if self._lost is not None:
            return self._refused(self._lost)
        status, out_of_memory = self._verdict()
        if out_of_memory:
            # What the kernel kills for lack of memory has used all of it, whatever was seen last.
            self._memory = self._spec.memory
        self._relay_end()
        self._remove()
        return _SIGNALLED - status if status > _SIGNALLED else status

    def _verdict(self) -> tuple[int, bool]:
        try:
            status = self._exit_status()
            state = _inside(self._engine.inspect(self._spec.name), "State")
        except EngineProblem:
            return _SIGNALLED + signal.SIGKILL, False
        killed = state.get("OOMKilled") is True
        _say(f"the container ended with status {status}, OOMKilled={killed}")
        # podman does not always notice: its 137 without anybody's SIGKILL is the kernel's.
        return status, killed or (status == _SIGNALLED + signal.SIGKILL and not self._killed)

    def _exit_status(self) -> int:
        """The exit status. podman answers with -1 until it has noted the true one."""
        for _ in range(_TRIES):
            status = self._engine.wait(self._spec.name)
            if 0 <= status < _MOST_STATUS:
                return status
            time.sleep(_RECONNECT)
        return EXIT_REFUSED

    def _relay_end(self) -> None:
        status = share.read_status(self._share)
        if not status:  # the runtime never began
            status = {"cause": refusals.from_output(self._last_output, self._spec)}
        self._publish({"phase": "starting", **status})

    def _remove(self) -> None:
        try:
            ownership.remove(self._engine, self._spec)
            share.discard(self._share)
        except EngineProblem as problem:
            _say(f"the container could not be removed yet: {problem.message}")


def _connection(address: str) -> socket.socket:
    if address.startswith("/"):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(1)
        connection.connect(address)
        return connection
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), 1)


def _inside(document: dict[str, Any], key: str) -> dict[str, Any]:
    value = document.get(key)
    return value if isinstance(value, dict) else {}


def _write_whole(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


def _say(text: str) -> None:
    """A line of the log, beside what the container writes."""
    sys.stderr.write(f"[container] {text}\n")
    sys.stderr.flush()
