"""All drivers of a host as one: each deployment's replicas are its target's driver's."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from modelyard.agent.drivers.base import DriverCapability, Replica, ReplicaSpec
from modelyard.agent.drivers.container import ContainerDriver
from modelyard.agent.drivers.process import ProcessDriver
from modelyard.agent.drivers.supervision import SupervisedDriver
from modelyard.agent.engine.host import Engines
from modelyard.agent.home import AgentHome
from modelyard.images.sandbox.cell import Sandbox

PROCESSES = "local"
CONTAINERS = "container"


class Drivers:
    """Passes every call on to the driver that it concerns.

    Args:
        home: The agent's files.
        engines: Finds the container engine.
        sandbox: What processes are started in; None starts them as they are.
    """

    capabilities: ClassVar[frozenset[DriverCapability]] = (
        ProcessDriver.capabilities & ContainerDriver.capabilities
    )

    def __init__(self, home: AgentHome, engines: Engines, sandbox: Sandbox | None = None) -> None:
        self.containers = ContainerDriver(home, engines)
        self._drivers: dict[str, SupervisedDriver] = {
            PROCESSES: ProcessDriver(home, sandbox),
            CONTAINERS: self.containers,
        }

    def observe(self) -> tuple[Replica, ...]:
        """Every replica of this host."""
        return tuple(replica for driver in self._drivers.values() for replica in driver.observe())

    def start(self, spec: ReplicaSpec) -> None:
        """Start a replica, or the ended one with this id again."""
        self._drivers[spec.target].start(spec)

    def revive(self, replica: str) -> None:
        """Start an ended replica again as it was."""
        for driver in self._concerned(replica):
            driver.revive(replica)

    def stop(self, replica: str, drain: float | None = None) -> None:
        """Tell a replica to drain and end."""
        for driver in self._concerned(replica):
            driver.stop(replica, drain)

    def remove(self, replica: str) -> None:
        """Forget an ended replica with its log."""
        for driver in self._concerned(replica):
            driver.remove(replica)

    def log(self, replica: str) -> Path:
        """Folder of a replica's log files."""
        first, *_ = (*self._concerned(replica), *self._drivers.values())
        return first.log(replica)

    def figures(self, replica: str) -> Path:
        """File of a replica's figures."""
        first, *_ = (*self._concerned(replica), *self._drivers.values())
        return first.figures(replica)

    def captured(self, replica: str) -> Path:
        """Folder in which a replica records requests."""
        first, *_ = (*self._concerned(replica), *self._drivers.values())
        return first.captured(replica)

    def _concerned(self, replica: str) -> list[SupervisedDriver]:
        return [driver for driver in self._drivers.values() if driver.knows(replica)]
