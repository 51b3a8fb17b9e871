"""Keeps the container engine clean: what this agent put there and nothing needs any more."""

from __future__ import annotations

from contextlib import suppress

from modelyard.agent.desired import DesiredStore
from modelyard.agent.drivers.container import ContainerDriver
from modelyard.agent.engine.problems import EngineProblem
from modelyard.agent.provision.engine import EngineImages
from modelyard.agent.threads import Conversation
from modelyard.domain.image import Manifest

_EVERY = 20.0  # seconds


class EngineUpkeep(Conversation):
    """Looks at the engine from time to time; a host without one is none of its business."""

    def __init__(
        self, driver: ContainerDriver, images: EngineImages, desired: DesiredStore
    ) -> None:
        super().__init__("engine upkeep")
        self._driver = driver
        self._images = images
        self._desired = desired

    def exchange(self) -> None:
        """Clean up once, and wait."""
        if self._desired.current is not None:  # before that, everything may be needed
            with suppress(EngineProblem):  # replicas that need the engine say so
                self._driver.sweep()
                self._images.keep_only(self._needed)
        self._closed.wait(_EVERY)

    def _needed(self) -> list[Manifest]:
        desired = self._desired.current
        services = () if desired is None else desired.services
        needed = [deployment.manifest for one in services for deployment in one.deployments]
        return needed + [manifest for one in services for manifest in one.former]
