"""Reads what replicas write down, adds it up by deployment, and cuts it into minutes.

Replicas are not asked: each keeps its figures in a file. All that must outlive the agent is one
document, so an agent that was away for an hour goes on where it was, with nothing missing.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from pydantic import BaseModel, ValidationError

from modelyard.agent.drivers.base import Identity, Replica
from modelyard.agent.gateway.counters import Figures as Counts
from modelyard.agent.gateway.counters import read_counters
from modelyard.agent.gateway.feedback import FOLDER as FEEDBACK
from modelyard.agent.gateway.files import CAPTURED
from modelyard.agent.telemetry.ledger import Book, Ledger
from modelyard.domain.desired import DesiredState
from modelyard.domain.figures import add, counted, highest, label_text, since
from modelyard.domain.telemetry import DeploymentFigures, HostFigures, Minute
from modelyard.files import replace_file
from modelyard.images import foreign_file
from modelyard_runtime.capture.tallies import ENDING as TALLY
from modelyard_runtime.capture.tallies import read_tally
from modelyard_runtime.families import Figures
from modelyard_runtime.processes import resident_bytes
from modelyard_runtime.slots import LARGEST, read_slots

log = logging.getLogger(__name__)

MINUTE = 60
MOST_WAITING = 24 * 60
"""Minutes that are kept for a server that cannot be reached; the oldest go first."""


_NO_REPLICA: Figures = {
    name: {"": [0.0]}
    for name in ("modelyard_replicas", "modelyard_replicas_ready", "modelyard_memory_bytes")
}


class Source(NamedTuple):
    """One replica, and where its figures are."""

    replica: Replica
    figures: Path


class Name(NamedTuple):
    """Whose deployment it is."""

    service: UUID
    service_name: str
    image: str = ""
    """Empty: what the gateway answered without any deployment of the service."""

    def tell(self, deployment: UUID, figures: Figures) -> DeploymentFigures:
        """Its figures, as they are told to others."""
        return DeploymentFigures(
            service=self.service,
            service_name=self.service_name,
            deployment=deployment if self.image else None,
            image=self.image,
            figures=figures,
        )


class Kept(BaseModel):
    """The document: what has to outlive the agent."""

    book: Book = Book()
    names: dict[UUID, Name] = {}
    """Of every deployment that was here since the minute began."""
    minute: int = 0
    """Number of the minute, since 1970, in which counting goes on."""
    at_begin: dict[UUID, Figures] = {}
    """By deployment: what had been counted when it began."""
    waiting: tuple[Minute, ...] = ()
    """Minutes to be sent home."""
    lost: int = 0
    """Minutes that were dropped because the server could not be reached."""


class Collector:
    """The figures of this host. Safe to use from several threads.

    Args:
        path: The document.
        gateway: Folder of the gateway's counters.
        clock: Seconds since 1970.
    """

    def __init__(self, path: Path, gateway: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._gateway = gateway
        self._clock = clock
        self._lock = threading.Lock()
        self._kept = _read(path)
        self._ledger = Ledger(self._kept.book)
        self._highest: dict[UUID, Figures] = {}
        self._sources: Sequence[Source] = ()
        self._here: Mapping[UUID, Name] = {}
        self._follows = False
        """It has been told what is here: before, nothing that is known may be forgotten."""

    def follow(self, desired: DesiredState, sources: Sequence[Source]) -> None:
        """What this host is to run, and the replicas that it has; from the loop, in every turn."""
        here = {service.id: Name(service.id, service.name) for service in desired.services}
        here |= {d.id: Name(s.id, s.name, d.image) for s in desired.services for d in s.deployments}
        for identity in (source.replica.identity for source in sources):
            here.setdefault(identity.deployment, _name(identity))
        with self._lock:
            self._here, self._sources, self._follows = here, sources, True
            gateway = {_gateway(deployment) for deployment in here}
            self._ledger.close_others({source.replica.id for source in sources} | gateway)

    def look(self) -> HostFigures:
        """What has been counted until now; at the end of a minute, that is put aside too."""
        with self._lock:
            found = self._look()
            if self._follows and int(self._clock()) // MINUTE > self._kept.minute:
                self._cut(found)
            return HostFigures(deployments=tuple(found.values()), agent=self._own())

    def leave(self, replica: str) -> None:
        """Read for the last time what a replica counted: its folder is about to go."""
        with self._lock:
            for source in self._sources:
                if source.replica.id == replica:
                    self._note(source)
            self._save()

    @property
    def waiting(self) -> tuple[Minute, ...]:
        """Minutes to be sent home, oldest first."""
        return self._kept.waiting

    def sent(self, minutes: Sequence[Minute]) -> None:
        """These have arrived."""
        with self._lock:
            arrived = {minute.begins for minute in minutes}
            left = tuple(m for m in self._kept.waiting if m.begins not in arrived)
            self._kept.waiting = left
            self._save()

    def _look(self) -> dict[UUID, DeploymentFigures]:
        here = self._here
        self._kept.names.update(here)
        gauges: dict[UUID, list[Figures]] = {
            deployment: [_NO_REPLICA] if name.image else [] for deployment, name in here.items()
        }
        for deployment, counts in self._counts().items():
            self._ledger.note(_gateway(deployment), deployment, counts)
        for source in self._sources:
            deployment = source.replica.identity.deployment
            gauges.setdefault(deployment, []).append(self._note(source))
        totals = self._ledger.totals()
        found = {}
        for deployment in here:
            now = add([totals.get(deployment, {}), *gauges[deployment]])
            self._highest[deployment] = highest([self._highest.get(deployment, {}), now])
            found[deployment] = here[deployment].tell(deployment, now)
        return found

    def _counts(self) -> dict[UUID, Figures]:
        """What the gateway has counted, by deployment; by service where there was none."""
        ids = {str(d): d for d in self._here}
        services = {name.service_name: name.service for name in self._here.values()}
        found = {}
        for (service, deployment), counts in read_counters(self._gateway).items():
            key = ids.get(deployment) if deployment else services.get(service)
            if key is not None:
                found[key] = _gateway_figures(counts)
        return found

    def _note(self, source: Source) -> Figures:
        """Take note of what a replica counted; returns its gauges."""
        replica = source.replica
        figures = {
            **_figures(source.figures),
            "modelyard_restarts_total": {"": [float(replica.restarts)]},
        }
        known = self._ledger.book.replicas.get(replica.id)
        if len(figures) == 1 and known is not None:  # cannot be read now: it has not gone back
            figures = {**known.figures, **figures}
        self._ledger.note(replica.id, replica.identity.deployment, figures)
        if not replica.alive:
            return {}
        told = counted(figures)
        return {name: series for name, series in figures.items() if name not in told} | {
            "modelyard_replicas": {"": [1.0]},
            "modelyard_replicas_ready": {"": [float(replica.ready)]},
            "modelyard_memory_bytes": {"": [float(replica.memory)]},
        }

    def _cut(self, found: dict[UUID, DeploymentFigures]) -> None:
        """Put aside what was counted since the last cut, as the minute that has ended."""
        kept = self._kept
        totals = self._ledger.totals()
        if kept.minute:
            minute = Minute(
                begins=datetime.fromtimestamp((int(self._clock()) // MINUTE - 1) * MINUTE, UTC),
                deployments=tuple(self._ended(d, totals.get(d, {})) for d in kept.names),
            )
            waiting = (*kept.waiting, minute)
            kept.waiting = waiting[-MOST_WAITING:]
            kept.lost += len(waiting) - len(kept.waiting)
        self._ledger.keep_only(found)
        kept.names = {d: name for d, name in kept.names.items() if d in found}
        kept.at_begin = self._ledger.totals()
        kept.minute = int(self._clock()) // MINUTE
        self._highest = {}
        self._save()

    def _ended(self, deployment: UUID, total: Figures) -> DeploymentFigures:
        delta = since(total, self._kept.at_begin.get(deployment, {}))
        peaks = self._highest.get(deployment, {})
        gauges = {n: series for n, series in peaks.items() if n not in counted(peaks)}
        told = {n: series for n, series in (delta | gauges).items() if series}
        return self._kept.names[deployment].tell(deployment, told)

    def _own(self) -> Figures:
        return {
            "modelyard_agent_cpu_seconds_total": {"": [time.process_time()]},
            "modelyard_agent_memory_bytes": {"": [float(resident_bytes(os.getpid()) or 0)]},
            "modelyard_agent_rollups_waiting": {"": [float(len(self._kept.waiting))]},
            "modelyard_agent_rollups_lost_total": {"": [float(self._kept.lost)]},
            "modelyard_agent_feedback_truths_total": self._truths(),
        }

    def _truths(self) -> dict[str, list[float]]:
        """What became of the truths that the gateway was told, by service."""
        found = {}
        for service, name in {(one.service, one.service_name) for one in self._here.values()}:
            folder = self._gateway.parent / CAPTURED / str(service) / FEEDBACK
            tallies = [read_tally(path) for path in sorted(folder.glob(f"*{TALLY}"))]
            counts = [tally for tally in tallies if tally is not None]
            if counts:
                stored = label_text(service=name, outcome="stored")
                refused = label_text(service=name, outcome="refused")
                found[stored] = [float(sum(tally.captured for tally in counts))]
                found[refused] = [float(sum(tally.dropped for tally in counts))]
        return found

    def _save(self) -> None:
        self._kept.book = self._ledger.book
        try:
            replace_file(self._path, self._kept.model_dump_json(), durable=False)
        except OSError as error:  # what is not written is written with the next
            log.error("figures cannot be kept: %s", error)


def _read(path: Path) -> Kept:
    try:
        return Kept.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Kept()
    except (OSError, ValidationError) as error:
        log.error("%s is damaged, counting begins anew: %s", path, error)
        return Kept()


def _figures(path: Path) -> Figures:
    try:
        return read_slots(foreign_file.read(path, LARGEST))
    except (OSError, ValueError):  # not started yet, or not by our runtime
        return {}


def _gateway(deployment: UUID) -> str:
    """What the ledger calls the gateway's own counting of a deployment."""
    return f"gateway {deployment}"


def _gateway_figures(counts: Counts) -> Figures:
    by_status = {f'status="{status}"': [float(n)] for status, n in counts.by_status().items()}
    figures: Figures = {"modelyard_gateway_requests_total": by_status}
    if any(counts.durations):
        durations = [*map(float, counts.durations), counts.seconds]
        figures["modelyard_gateway_request_duration_seconds"] = {"": durations}
    if any(counts.waits):
        waits = [*map(float, counts.waits), counts.waited]
        figures["modelyard_gateway_queue_wait_seconds"] = {"": waits}
    return figures


def _name(identity: Identity) -> Name:
    return Name(identity.service, identity.service_name, identity.image)
