"""Replicas as containers of this host's engine.

Each has a supervisor as a process has, and what that one starts is `modelyard.agent.container`,
which holds one container. Containers carry the agent's id: what another agent made is not touched.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from modelyard.agent.container import ownership
from modelyard.agent.container import spec as inside
from modelyard.agent.container.share import discard
from modelyard.agent.container.spec import ContainerSpec
from modelyard.agent.drivers.base import DriverCapability, ReplicaSpec
from modelyard.agent.drivers.supervision import (
    SupervisedDriver,
    module_command,
    own_environment,
)
from modelyard.agent.engine.address import parse_address
from modelyard.agent.engine.client import Engine
from modelyard.agent.engine.host import EngineHost, Engines
from modelyard.agent.engine.problems import EngineProblem
from modelyard.agent.home import AgentHome, is_locked
from modelyard.agent.provision.engine import image_tag
from modelyard.agent.supervisor.spec import LOCK, Restarts, Spec
from modelyard.domain.image import Base, LayerKind
from modelyard.domain.service import Network, ReplicaSettings
from modelyard.errors import InvalidRequest
from modelyard.images.launch import replica_config, runtime_command

log = logging.getLogger(__name__)

HOLDER = "modelyard.agent.container"
_MOST_PROCESSES = 2048  # of one container, threads included
_OOM_SCORE = 500  # the kernel is to choose a replica before the platform's own parts
_TEMPORARY = "/tmp"  # noqa: S108 - of the container, and its own
_ROOTS = dict.fromkeys(LayerKind, Path("/"))


class ContainerDriver(SupervisedDriver):
    """Runs replicas as containers.

    Args:
        home: The agent's files.
        engines: Finds the engine.
        restarts: When what ended is started again; None takes the usual delays.
    """

    capabilities: ClassVar[frozenset[DriverCapability]] = frozenset(
        {DriverCapability.MEMORY_LIMIT, DriverCapability.CPU_LIMIT}
    )

    def __init__(
        self,
        home: AgentHome,
        engines: Engines,
        restarts: Restarts | None = None,
    ) -> None:
        super().__init__(home, home.containers, restarts)
        self._engines = engines
        self._agent = agent_id(home)
        self._suspects: set[str] = set()

    def sweep(self) -> None:
        """Remove the containers of this agent that nobody has supervised since the last sweep.

        Raises:
            EngineProblem: The engine cannot be asked.
        """
        engine = self._engines.find().engine
        found = self._containers(engine)
        for name in found.keys() & self._suspects:
            self._remove_unowned(engine, name, found[name])
        self._suspects = {name for name, replica in found.items() if not self._is_owned(replica)}

    def remove_all(self) -> None:
        """Remove every container of this agent that nobody supervises.

        Raises:
            EngineProblem: The engine cannot be asked.
        """
        engine = self._engines.find().engine
        for name, replica in self._containers(engine).items():
            self._remove_unowned(engine, name, replica)

    def figures(self, replica: str) -> Path:
        """File of a replica's figures: in the folder that its container shares."""
        address, _ = self.sockets(replica)
        return Path(_share(address)) / inside.FIGURES

    def _containers(self, engine: Engine) -> dict[str, str]:
        """The replicas of this agent's containers, by the containers' ids."""
        found = {}
        for container in engine.containers(f"{inside.AGENT_LABEL}={self._agent}"):
            labels, name = container.get("Labels"), container.get("Id")
            replica = labels.get(inside.REPLICA_LABEL) if isinstance(labels, dict) else None
            if isinstance(replica, str) and isinstance(name, str):
                found[name] = replica
        return found

    def _remove_unowned(self, engine: Engine, name: str, replica: str) -> None:
        with self._ownership(self._folder(replica)) as owned:
            if owned is not None or not self._folder(replica).is_dir():
                log.info("removing a container that was left of %s", replica)
                engine.remove(name)

    def _is_owned(self, replica: str) -> bool:
        return is_locked(self._folder(replica) / LOCK)

    def _supervision(self, spec: ReplicaSpec, folder: Path) -> Spec:
        host = self._engines.find()
        address, _ = self.sockets(spec.identity.replica)
        container = self._container(spec, host, address)
        container.write(folder / inside.CONTAINER)
        command = module_command(HOLDER, folder)
        supervised = self._spec(spec, command, own_environment())
        network = "without a" if _is_cut_off(spec.settings, host) else "with the engine's"
        return supervised._replace(
            socket=container.socket, contained=True, sandbox=f"container, {network} network"
        )

    def _clear(self, folder: Path) -> None:
        """Remove the container that a killed holder left."""
        try:
            container = ContainerSpec.read(folder)
        except (OSError, ValueError, TypeError):
            return  # a start that was interrupted: there is none yet
        try:
            ownership.remove(Engine(parse_address(container.engine, inside.CONTAINER)), container)
        except EngineProblem as problem:
            log.warning("%s is left for later: %s", container.name, problem.message)
        discard(Path(container.share))

    def _container(self, spec: ReplicaSpec, host: EngineHost, address: str) -> ContainerSpec:
        share = _share(address)
        config = _runtime_config(spec, host)
        body = _body(spec, host, share)
        marked = hashlib.sha256(json.dumps([body, config], sort_keys=True).encode()).hexdigest()
        body["Labels"] = {
            inside.AGENT_LABEL: self._agent,
            inside.REPLICA_LABEL: spec.identity.replica,
            inside.SPECIFICATION_LABEL: marked,
            "io.modelyard.service": spec.identity.service_name,
            "io.modelyard.deployment": str(spec.identity.deployment),
            "io.modelyard.image": spec.identity.image,
        }
        body["Image"] = image_tag(self._agent, spec.manifest.digest)
        return ContainerSpec(
            engine=str(host.engine.address),
            name=f"modelyard-{self._agent[:8]}-{spec.identity.replica}",
            body=body,
            config=config,
            share=share,
            socket=address if host.shares_sockets else "",
            memory=spec.settings.memory,
        )


def _share(address: str) -> str:
    """The folder that a container shares with its host."""
    return f"{address.removesuffix('.s')}.d"


def agent_id(home: AgentHome) -> str:
    """What the agent of this home folder calls itself on an engine: the same in its every life.

    Made from the folder and the host, not kept in a file, so that an agent whose folder was lost
    still knows its containers.
    """
    machine = Path("/etc/machine-id")
    host = machine.read_text().strip() if machine.is_file() else socket.gethostname()
    whole = f"{host}:{os.getuid()}:{home.folder}"
    return hashlib.sha256(whole.encode()).hexdigest()[:16]


def _base(spec: ReplicaSpec) -> Base:
    if spec.manifest.base is None:
        raise InvalidRequest(
            f"the image `{spec.identity.image}` has nothing to stand on in a container",
            hint="build it again; an image gets a base unless the build says none",
        )
    return spec.manifest.base


def _runtime_config(spec: ReplicaSpec, host: EngineHost) -> dict[str, Any]:
    settings = spec.settings
    config = replica_config(
        spec.manifest,
        _ROOTS,
        service=spec.identity.service_name,
        workers=settings.workers,
        scoring_timeout=settings.scoring_timeout,
        drain_timeout=settings.scoring_timeout,
        network=not _is_cut_off(settings, host),
        sample=spec.sample,
    )
    socket = f"unix:{inside.INSIDE}/{inside.SOCKET}"
    listen = socket if host.shares_sockets else f"*:{inside.PORT}"
    return {**config, "listen": [listen], "status": f"{inside.INSIDE}/{inside.STATUS}"}


def _body(spec: ReplicaSpec, host: EngineHost, share: str) -> dict[str, Any]:
    """What the engine is asked to create, without labels and image."""
    base, settings = _base(spec), spec.settings
    argv, env = runtime_command(
        spec.manifest,
        _ROOTS,
        settings.cpu,
        settings.environment,
        Path(_TEMPORARY),
        base.python,
    )
    published = {"PortBindings": {f"{inside.PORT}/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}}
    return {
        "Entrypoint": [*argv, "--config", f"{inside.INSIDE}/{inside.CONFIG}"],
        "Cmd": [],
        "Env": _variables({**base.environment, **env}),
        "WorkingDir": "/",
        "ExposedPorts": {f"{inside.PORT}/tcp": {}},
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": {
            "Binds": [f"{share}:{inside.INSIDE}:rw,Z"],
            **_limits(settings.cpu, settings.memory),
            **_CONFINEMENT,
            "NetworkMode": "none" if _is_cut_off(settings, host) else "bridge",
            # The supervisor keeps the log and decides on restarts.
            "LogConfig": {"Type": "none"},
            "RestartPolicy": {"Name": "no"},
            **({} if host.shares_sockets else published),
        },
    }


def _is_cut_off(settings: ReplicaSettings, host: EngineHost) -> bool:
    """Whether it has no network at all; a published port needs one."""
    return settings.network is Network.NONE and host.shares_sockets


def _limits(cpu: float, memory: int) -> dict[str, Any]:
    return {
        "NanoCpus": int(cpu * 1_000_000_000),
        "Memory": memory,
        "MemorySwap": memory,
        "PidsLimit": _MOST_PROCESSES,
        "ShmSize": memory // 2,
        "Tmpfs": {_TEMPORARY: f"rw,nosuid,nodev,mode=1777,size={memory}"},
        "OomScoreAdj": _OOM_SCORE,
    }


_CONFINEMENT: Mapping[str, Any] = {
    "ReadonlyRootfs": True,
    "CapDrop": ["ALL"],
    "SecurityOpt": ["no-new-privileges"],
    "IpcMode": "private",
}


def _variables(environment: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in environment.items()]
