"""Ends the agent of a home folder, and everything it started. Used when a server is stopped."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
from pydantic import ValidationError

from modelyard.agent.drivers.base import ReplicaDriver
from modelyard.agent.drivers.by_target import Drivers
from modelyard.agent.engine.host import Engines
from modelyard.agent.engine.problems import EngineProblem
from modelyard.agent.gatekeeper import MODULE as GATEWAY
from modelyard.agent.home import AgentHome, is_locked, lock
from modelyard.domain.values import Value
from modelyard.errors import Unavailable

AGENT = "modelyard.agent"
"""Module of the agent, by which its process is told from others."""

_STEP = 0.05
_GRACE = 5.0


class RunningAgent(Value):
    """What an agent writes about itself to `agent.json`."""

    pid: int
    arguments: tuple[str, ...]
    """Of its command line: where its server and its gateway are."""
    version: str


def running_agent(home: AgentHome) -> RunningAgent | None:
    """The agent that runs for this home folder, or None."""
    if not is_locked(home.lock):
        return None
    try:
        return RunningAgent.model_validate_json(home.status.read_bytes())
    except (OSError, ValidationError):
        return None  # it has only just begun


def stop_agent(home: AgentHome) -> None:
    """End the agent and nothing else; replicas and gateway serve on.

    Raises:
        Unavailable: It does not end.
    """
    deadline = time.monotonic() + _GRACE
    while is_locked(home.lock):
        late = time.monotonic() > deadline
        agent = running_agent(home)
        if agent is not None:
            _signal_agent(agent.pid, signal.SIGKILL if late else signal.SIGTERM)
        if late and time.monotonic() > deadline + _GRACE:
            raise Unavailable(f"the agent of {home.folder} does not end", hint="end it by hand")
        time.sleep(_STEP)


def stop_everything(home: Path, drain: float = 10.0, engine: str | None = None) -> None:
    """End the agent, the gateway and all replicas of a home folder.

    Args:
        home: The folder. What is already gone there is not an error.
        drain: Seconds for requests in flight.
        engine: Address of the container engine, when it was named.

    Raises:
        Unavailable: Something does not end.
    """
    agent_home = AgentHome(home)
    if not agent_home.replicas.is_dir():
        return
    agent_home.create()  # one that an older version made has not every folder
    held = _hold(agent_home)
    try:
        stop_gateway(agent_home, drain)
        drivers = Drivers(agent_home, Engines(engine))
        _stop_replicas(drivers, drain)
        with suppress(EngineProblem):  # then the next agent does it
            drivers.containers.remove_all()
    finally:
        os.close(held)


def _hold(home: AgentHome) -> int:
    """End the agent and keep another one from starting."""
    while True:
        stop_agent(home)
        held = lock(home.lock)
        if held is not None:
            return held


def stop_gateway(home: AgentHome, drain: float) -> None:
    """End the gateway, also one that has only just begun and shows neither lock nor status.

    Raises:
        Unavailable: It does not end.
    """
    gateways = [
        process
        for process in psutil.process_iter(["cmdline"])
        if {GATEWAY, str(home.gateway)} <= set(process.info["cmdline"] or ())
    ]
    for chance, number in ((drain, signal.SIGTERM), (_GRACE, signal.SIGKILL)):
        for process in gateways:
            _signal(process, number)
        _, gateways = psutil.wait_procs(gateways, chance)
    if gateways:
        raise Unavailable(f"the gateway of {home.folder} does not end", hint="end it by hand")


def _stop_replicas(driver: ReplicaDriver, drain: float) -> None:
    def none_left() -> bool:
        alive = [replica for replica in driver.observe() if replica.alive]
        for replica in alive:
            driver.stop(replica.id, drain)  # said twice, the earlier end counts
        return not alive

    if not _wait(none_left, drain + _GRACE):
        raise Unavailable("replicas do not end", hint="end their supervisors by hand")


def _wait(condition: Callable[[], bool], timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_STEP)
    return True


def _signal_agent(pid: int, number: signal.Signals) -> None:
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        if AGENT in process.cmdline():  # ids are used again
            _signal(process, number)


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)
