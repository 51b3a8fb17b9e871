"""Replicas under supervisors that outlive the agent: what the drivers here have in common.

Whether a supervisor lives is told by the lock on its folder, and what it does by its control
socket; no process id is trusted. What a supervisor starts is the matter of each driver.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

from pydantic import ValidationError

import modelyard
from modelyard.agent.detached import reap, start_detached
from modelyard.agent.drivers.base import DriverCapability, Identity, Replica, ReplicaSpec
from modelyard.agent.drivers.supervised import NoAnswer, TooSlow, ask
from modelyard.agent.home import AgentHome, is_locked, lock
from modelyard.agent.supervisor.spec import (
    LOCK,
    LOG,
    RUNTIME_FIGURES,
    RUNTIME_STATUS,
    SPEC,
    STATE,
    Limits,
    Restarts,
    Spec,
)
from modelyard.domain.cause import Cause, CauseCode
from modelyard.domain.service import ReplicaSettings, ReplicaState
from modelyard.files import replace_file
from modelyard.images.launch import base_python
from modelyard.images.sandbox.cell import CAPTURED, SCRATCH

_PACKAGES = Path(modelyard.__file__).parent.parent
_PYTHON, _ = base_python()
SUPERVISOR = "modelyard.agent.supervisor"

_DRAIN_GRACE = 5.0  # seconds for the runtime to end by itself after its last request
_SILENCE = 5.0  # seconds before a supervisor that did not answer is asked again

_STATES = {
    "starting": ReplicaState.STARTING,
    "ready": ReplicaState.READY,
    "draining": ReplicaState.DRAINING,
    "failed": ReplicaState.FAILED,
    "stopped": ReplicaState.DRAINING,
}


class SupervisedDriver(ABC):
    """Runs each replica under a supervisor, in a folder of its own.

    Args:
        home: The agent's files.
        folder: Where this driver's replicas have their folders.
        restarts: When what ended is started again; None takes the usual delays.
    """

    capabilities: ClassVar[frozenset[DriverCapability]]

    def __init__(self, home: AgentHome, folder: Path, restarts: Restarts | None = None) -> None:
        self._home = home
        self._replicas = folder
        self._restarts = restarts or Restarts()
        self._known: dict[str, Replica] = {}
        self._silent_until: dict[str, float] = {}

    def observe(self) -> tuple[Replica, ...]:
        """Every replica of this host."""
        reap()
        self._known = {replica.id: replica for replica in self._look()}
        return tuple(self._known.values())

    def start(self, spec: ReplicaSpec) -> None:
        """Start a replica, or the ended one with this id again."""
        folder = self._folder(spec.identity.replica)
        for private in (folder / SCRATCH, (folder / RUNTIME_STATUS).parent):
            private.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._ownership(folder) as owned:
            if owned is not None:
                self._launch(folder, self._supervision(spec, folder), owned)

    def revive(self, replica: str) -> None:
        """Start an ended replica again as it was."""
        folder = self._folder(replica)
        with self._ownership(folder) as owned, contextlib.suppress(FileNotFoundError):
            if owned is not None:
                self._launch(folder, self._placed(Spec.read(folder)), owned)

    def stop(self, replica: str, drain: float | None = None) -> None:
        """Tell a replica to drain and end."""
        request: dict[str, Any] = {"do": "stop"}
        if drain is not None:
            request["drain"] = drain
        with contextlib.suppress(NoAnswer, OSError, ValueError):
            ask(Spec.read(self._folder(replica)).control, request)

    def remove(self, replica: str) -> None:
        """Forget an ended replica with its log."""
        folder = self._folder(replica)
        with self._ownership(folder) as owned:
            if owned is None:
                return
            self._clear(folder)
            for path in self.sockets(replica):
                Path(path).unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)

    def log(self, replica: str) -> Path:
        """Folder of a replica's log files."""
        return self._folder(replica) / LOG

    def figures(self, replica: str) -> Path:
        """File of a replica's figures."""
        return self._folder(replica) / RUNTIME_FIGURES

    def captured(self, replica: str) -> Path:
        """Folder in which a replica records requests."""
        return self._folder(replica) / CAPTURED

    def knows(self, replica: str) -> bool:
        """Whether a replica is this driver's."""
        return self._folder(replica).is_dir()

    @abstractmethod
    def _supervision(self, spec: ReplicaSpec, folder: Path) -> Spec:
        """Write what the replica's command reads into its folder, and say what to supervise."""

    @abstractmethod
    def _clear(self, folder: Path) -> None:
        """End what an ended supervisor has left running."""

    def _look(self) -> Iterator[Replica]:
        for folder in sorted(self._replicas.iterdir()):
            try:
                spec = Spec.read(folder)
            except (OSError, ValueError, TypeError, LookupError):
                self.remove(folder.name)  # what a start that was interrupted left
                continue
            yield self._look_at(folder, spec)

    def _look_at(self, folder: Path, spec: Spec) -> Replica:
        if time.monotonic() < self._silent_until.get(folder.name, 0.0) and is_locked(folder / LOCK):
            return self._silent(spec)
        try:
            return _replica(spec, ask(spec.control, {"do": "status"}), alive=True)
        except TooSlow:
            self._silent_until[folder.name] = time.monotonic() + _SILENCE
            return self._silent(spec)
        except NoAnswer:
            if is_locked(folder / LOCK):
                return self._coming_or_going(spec)
            return _replica(spec, _last_state(folder), alive=False)

    def _coming_or_going(self, spec: Spec) -> Replica:
        """A replica whose supervisor lives and does not listen: not yet, or no more."""
        known = self._known.get(spec.replica)
        if known is not None and known.draining:
            return known
        return _replica(spec, {"phase": "starting"}, alive=True)

    def _silent(self, spec: Spec) -> Replica:
        """A replica whose supervisor lives but does not answer: the host is in trouble."""
        known = self._known.get(spec.replica)
        return known or _replica(spec, {"phase": "starting"}, alive=True)

    def _launch(self, folder: Path, spec: Spec, owned: int) -> None:
        self._silent_until.pop(spec.replica, None)
        replace_file(folder / SPEC, spec.to_json(), durable=False)
        command = module_command(SUPERVISOR, folder, str(owned))
        log = folder / "supervisor.log"
        start_detached(command, folder / SCRATCH, log, env=own_environment(), keep=[owned])

    def _spec(self, spec: ReplicaSpec, argv: list[str], env: dict[str, str]) -> Spec:
        """What a supervisor is told, whatever its command is."""
        identity, settings = spec.identity, spec.settings
        socket, control = self.sockets(identity.replica)
        return Spec(
            replica=identity.replica,
            service=identity.service_name,
            labels={
                "service": str(identity.service),
                "deployment": str(identity.deployment),
                "image": identity.image,
            },
            argv=argv,
            env=env,
            socket=socket,
            control=control,
            limits=Limits(settings.memory, settings.startup_timeout, _drain_timeout(settings)),
            restarts=self._restarts,
        )

    def _placed(self, spec: Spec) -> Spec:
        """With sockets where they belong now: the folder for them may have moved with `TMPDIR`."""
        socket, control = self.sockets(spec.replica)
        return spec._replace(socket=spec.socket if spec.contained else socket, control=control)

    def sockets(self, replica: str) -> tuple[str, str]:
        """Where the runtime and its supervisor answer; short, whatever the replica's name."""
        name = hashlib.sha256(replica.encode()).hexdigest()[:12]
        folder = self._home.sockets()
        return str(folder / f"{name}.s"), str(folder / f"{name}.c")

    def _folder(self, replica: str) -> Path:
        return self._replicas / replica

    @contextlib.contextmanager
    def _ownership(self, folder: Path) -> Iterator[int | None]:
        """The lock on a replica's folder; None when its supervisor lives or there is no folder."""
        try:
            descriptor = lock(folder / LOCK)
        except FileNotFoundError:
            descriptor = None
        try:
            yield descriptor
        finally:
            if descriptor is not None:
                os.close(descriptor)


def own_environment() -> dict[str, str]:
    """What programs of this package that run beside a replica need to start."""
    return {"PYTHONPATH": str(_PACKAGES), "PATH": os.environ.get("PATH", os.defpath)}


def module_command(module: str, *arguments: str | Path) -> list[str]:
    """How such a program is started: without the packages of the host."""
    return [str(_PYTHON), "-s", "-S", "-P", "-m", module, *map(str, arguments)]


def _drain_timeout(settings: ReplicaSettings) -> float:
    return settings.scoring_timeout + _DRAIN_GRACE


def _replica(spec: Spec, state: dict[str, Any], *, alive: bool) -> Replica:
    labels = state.get("labels", spec.labels)
    started_at = state.get("runtime_started_at")
    return Replica(
        identity=Identity(
            replica=spec.replica,
            service=UUID(labels["service"]),
            service_name=spec.service,
            deployment=UUID(labels["deployment"]),
            image=labels["image"],
        ),
        address=state.get("address") or spec.socket,
        alive=alive,
        state=_STATES[state["phase"]] if alive else ReplicaState.FAILED,
        restarts=state.get("restarts", 0),
        failures=state.get("failures", 0),
        memory=state.get("memory", 0) if alive else 0,
        started_at=datetime.fromisoformat(started_at) if started_at else None,
        cause=_cause(state.get("cause")),
        last_failure=_cause(state.get("last_failure")) if alive else None,
    )


def _cause(document: dict[str, Any] | None) -> Cause | None:
    if document is None:
        return None
    try:
        return Cause.model_validate(document)
    except ValidationError:  # a code that user code made up
        return Cause(
            code=CauseCode.INTERNAL,
            message=str(document.get("message")),
            evidence=(f"code: {document.get('code')}",),
        )


def _last_state(folder: Path) -> dict[str, Any]:
    """What an ended supervisor published last."""
    try:
        state = json.loads((folder / STATE).read_bytes())
        return {**state, "runtime_started_at": None} if isinstance(state, dict) else {}
    except (OSError, ValueError):
        return {}
