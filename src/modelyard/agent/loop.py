"""The agent's loop: look at the world, take the next steps, report, again.

What to do is decided in `plan`. Requests are answered without this process; whatever it has to
know it finds on disk, or by asking supervisors and the gateway.
"""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from modelyard.agent.autoscaler import Autoscaler
from modelyard.agent.capturing import RecordFolder
from modelyard.agent.desired import DesiredStore
from modelyard.agent.drivers.base import Replica, ReplicaDriver
from modelyard.agent.executor import Executor
from modelyard.agent.gatekeeper import Gatekeeper
from modelyard.agent.host import host_room
from modelyard.agent.judging import Judge, Ruling, Stage
from modelyard.agent.plan import plan
from modelyard.agent.provision.images import ImageProvider
from modelyard.agent.report import report
from modelyard.agent.sampling import Sampler
from modelyard.agent.shipper import ReplicaLog
from modelyard.agent.telemetry.collector import Collector, Source
from modelyard.agent.threads import CaptureSender, LogSender, Reporter
from modelyard.agent.world import World
from modelyard.domain.cause import Cause
from modelyard.domain.desired import DesiredState
from modelyard.domain.observed import ObservedGateway, ObservedState
from modelyard.domain.service import ReplicaState
from modelyard.files import replace_file

log = logging.getLogger(__name__)

_HURRY = 0.025  # seconds between two looks while something is about to change
_SLOW_CHANGE = 0.2  # the same, when it has been about to change for long
_LONG = 15.0
_IDLE = 0.5
_MEASURE = 0.1  # seconds between two looks at a load that replicas follow
_MEASURED = frozenset({Stage.COMING, Stage.BESIDE, Stage.STANDBY})
_PASSING = frozenset({ReplicaState.STARTING, ReplicaState.DRAINING})
_NO_NEWS: Any = {
    "services": {
        "__all__": {
            "deployments": {"__all__": {"comparison": True, "replicas": {"__all__": {"memory"}}}}
        }
    }
}
"""What alone is no news."""


class Loop:
    """Makes one host be what it should be. Belongs to the main thread."""

    def __init__(
        self,
        desired: DesiredStore,
        driver: ReplicaDriver,
        images: ImageProvider,
        gatekeeper: Gatekeeper,
        reporter: Reporter,
        log_sender: LogSender,
        collector: Collector,
        observed: Path,
        capture_sender: CaptureSender,
        judged: Path,
    ) -> None:
        self._desired = desired
        self._driver = driver
        self._images = images
        self._gatekeeper = gatekeeper
        self._reporter = reporter
        self._log_sender = log_sender
        self._collector = collector
        self._observed = observed
        self._capture_sender = capture_sender
        self._autoscaler = Autoscaler(host_room())
        self._judge = Judge(judged, gatekeeper.counted)
        self._sampler = Sampler(self.wake, time.monotonic)
        self._executor = Executor(driver, images, gatekeeper, log_sender.finished, self._leaves)
        self._reached = _read_reached(observed)
        self._told: object = None
        self._changed_at = 0.0
        self._awake = threading.Event()
        self._ending = False

    def run(self) -> None:
        """Run until `end` is called, or the home folder is gone."""
        while not self._ending:
            self._awake.clear()
            if not self._observed.parent.is_dir():
                log.error("%s was deleted: ending", self._observed.parent)
                return
            try:
                pause = self._turn(time.monotonic())
            except Exception:  # such as a full disk: what runs is not touched
                log.exception("trying again")
                pause = _IDLE
            self._awake.wait(pause)

    def wake(self) -> None:
        """Look now; callable from any thread."""
        self._awake.set()

    def end(self) -> None:
        """Return from `run` within half a second; callable from a signal handler.

        It sets no event: the loop may hold the event's lock in this very thread.
        """
        self._ending = True

    def _turn(self, now: float) -> float:
        """Look, act and report once; returns the seconds until the next look."""
        self._gatekeeper.ensure()
        desired = self._desired.current
        if desired is None:
            return _IDLE  # nobody ever said what should be here: touch nothing
        world, gateway, notices = self._look(desired)
        self._collector.follow(desired, [self._source(replica) for replica in world.replicas])
        desired = self._autoscaler.scale(
            desired, world.replicas, self._gatekeeper.loads(), self._reached, now
        )
        desired, rulings = self._judge.steer(desired, world.replicas, world.gateway.config, now)
        steps = plan(desired, world, now)
        for step in steps:
            self._executor.carry_out(step, now)
        self._images.keep_only({d.id for s in desired.services for d in s.deployments})
        told = {**notices, **self._autoscaler.shortages}
        self._report(desired, world, gateway, told, rulings, now)
        pause = self._pause(bool(steps) or _unsettled(world, gateway), now)
        elastic = any(service.max_replicas is not None for service in desired.services)
        measuring = elastic or any(ruling.stage in _MEASURED for ruling in rulings.values())
        return min(pause, _MEASURE) if measuring else pause

    def _look(self, desired: DesiredState) -> tuple[World, ObservedGateway, dict[str, Cause]]:
        found = self._driver.observe()
        self._executor.notice(found)
        self._log_sender.logs = {replica.id: self._log_of(replica) for replica in found}
        self._capture_sender.sources = [
            RecordFolder.of(replica, self._driver.captured(replica.id)) for replica in found
        ]
        view, gateway, notices = self._gatekeeper.look()
        routed = {up.replica for route in view.config.services for up in route.upstreams}
        replicas = self._sampler.admit(found, desired, routed, self._reached)
        world = World(
            replicas=replicas,
            gateway=view,
            images=self._images.ready(),
            comparisons=self._gatekeeper.comparisons(),
            problems={
                **self._sampler.problems(),
                **self._images.problems(),
                **self._executor.problems,
            },
            not_before=self._executor.not_before(),
        )
        return world, gateway, notices

    def _source(self, replica: Replica) -> Source:
        return Source(replica, self._driver.figures(replica.id))

    def _leaves(self, replica: str) -> None:
        """A replica's folder is about to go: take what is in it."""
        self._collector.leave(replica)
        self._capture_sender.keep(replica)

    def _log_of(self, replica: Replica) -> ReplicaLog:
        return ReplicaLog(replica.identity.service, replica.id, self._driver.log(replica.id))

    def _report(
        self,
        desired: DesiredState,
        world: World,
        gateway: ObservedGateway,
        notices: dict[str, Cause],
        rulings: dict[UUID, Ruling],
        now: float,
    ) -> None:
        services = report(desired, world, self._reached, notices, rulings)
        observed = ObservedState(
            agent=desired.agent,
            fence=desired.fence,
            generation=desired.generation,
            gateway=gateway,
            services=services,
        )
        told = observed.model_dump(exclude=_NO_NEWS)
        news = told != self._told
        if news:
            self._told, self._changed_at = told, now
            self._reached = {service.id: service.generation for service in services}
            replace_file(self._observed, observed.model_dump_json(), durable=False)
        self._reporter.report(observed, news=news)

    def _pause(self, hurry: bool, now: float) -> float:
        if not hurry:
            return _IDLE
        return _HURRY if now - self._changed_at < _LONG else _SLOW_CHANGE


def _unsettled(world: World, gateway: ObservedGateway) -> bool:
    """Whether something is about to change by itself."""
    passing = any(replica.alive and replica.state in _PASSING for replica in world.replicas)
    return passing or not world.gateway.settled or gateway == ObservedGateway()


def _read_reached(path: Path) -> dict[UUID, int]:
    """The generation that each service had reached when the last report was written."""
    try:
        observed = ObservedState.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return {}
    return {service.id: service.generation for service in observed.services}
