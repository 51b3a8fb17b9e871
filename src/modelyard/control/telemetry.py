"""What services count and measure: taken from agents, kept by the minute, shown.

What is happening now is in memory only; minutes are rows, so they outlive the server.
"""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import NamedTuple
from uuid import UUID

from modelyard.domain.figures import add, highest, is_gauge, label_text, since
from modelyard.domain.principal import Principal
from modelyard.domain.telemetry import (
    DeploymentFigures,
    HostFigures,
    Minute,
    Point,
    ServiceLoad,
    ServiceMetrics,
    load,
)
from modelyard.errors import InvalidRequest
from modelyard.store import Database
from modelyard_runtime.families import Figures
from modelyard_runtime.processes import resident_bytes

SPAN = 10.0
"""Seconds over which the load of now is averaged."""
SILENCE = 15.0
"""Seconds after which what an agent told last is not now any more."""
KEEP_MINUTES = timedelta(days=7)
"""How long minutes are kept."""
_MINUTE = 60.0
_MOST_POINTS = 1500


class _Told(NamedTuple):
    at: float
    figures: HostFigures


class Telemetry:
    """What agents tell of the figures of their hosts.

    Args:
        database: Where minutes are kept.
        clock: Monotonic seconds.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._told: dict[str, deque[_Told]] = {}

    def tell(self, principal: Principal, agent: str, figures: HostFigures) -> None:
        """An agent tells what has been counted until now; of services of others it says nothing."""
        del principal
        with self._database.read() as tx:
            names = tx.services.of_agent(agent)
        own = tuple(d for d in figures.deployments if names.get(d.service) == d.service_name)
        figures = figures.model_copy(update={"deployments": own})
        now = self._clock()
        told = self._told.setdefault(agent, deque())
        told.append(_Told(now, figures))
        while len(told) > 2 and told[1].at <= now - SPAN:
            told.popleft()

    def keep(self, principal: Principal, agent: str, minutes: Sequence[Minute]) -> None:
        """Keep minutes of an agent; those that are there already change nothing."""
        del principal
        with self._database.write() as tx:
            for minute in minutes:
                tx.minutes.add(agent, minute)

    def now(self, principal: Principal) -> tuple[ServiceLoad, ...]:
        """How every service is used now, by name."""
        with self._database.read() as tx:
            names = tx.services.names(principal.workspace)
            sleepers = tx.services.may_sleep(principal.workspace)
        found = dict(self._services())
        heard = any(True for _ in self.hosts())
        loads = {id_: load(found.get(id_, {}), SPAN) for id_ in names.values()}
        return tuple(
            ServiceLoad(
                service=name,
                asleep=heard and id_ in sleepers and not loads[id_]["replicas"],
                **loads[id_],
            )
            for name, id_ in sorted(names.items())
        )

    def hosts(self) -> Iterator[tuple[str, HostFigures]]:
        """What each agent told last, if it was not long ago."""
        for agent, told in sorted(self._told.items()):
            if told and self._clock() - told[-1].at <= SILENCE:
                yield agent, told[-1].figures

    def server(self, principal: Principal) -> Figures:
        """What the server tells of itself, but for its requests."""
        workspace = principal.workspace
        now = datetime.now(UTC)
        with self._database.read() as tx:
            operations, seen = tx.operations.count(), tx.agents.last_seen()
            captured = {
                name: tx.captured.totals(workspace, name)
                for name in tx.captured.services(workspace)
            }
            states = Counter(str(service.status.state) for service in tx.services.all())
        return {
            "modelyard_server_operations": {
                label_text(kind=str(kind), state=str(state)): [float(count)]
                for (kind, state), count in operations.items()
            },
            "modelyard_server_services": {
                label_text(state=state): [float(count)] for state, count in states.items()
            },
            "modelyard_server_capture_requests": {
                label_text(service=name, outcome=outcome): [float(count)]
                for name, totals in captured.items()
                for outcome, count in totals._asdict().items()
            },
            "modelyard_server_agent_silence_seconds": {
                label_text(agent=agent): [(now - at).total_seconds()] for agent, at in seen.items()
            },
            "modelyard_server_cpu_seconds_total": {"": [time.process_time()]},
            "modelyard_server_memory_bytes": {"": [float(resident_bytes(os.getpid()) or 0)]},
        }

    def history(
        self, principal: Principal, name: str, last: float, step: float | None
    ) -> ServiceMetrics:
        """How a service was used in the last seconds, by steps of whole minutes.

        Raises:
            NotFound: There is no such service.
            InvalidRequest: That would be too many steps.
        """
        chosen = step or _step(last)
        whole = max(1, ceil(chosen / _MINUTE)) * _MINUTE
        if last / whole > _MOST_POINTS:
            raise InvalidRequest(
                f"these are more than {_MOST_POINTS} points", hint="ask for longer steps"
            )
        began = datetime.now(UTC) - timedelta(seconds=last)
        with self._database.read() as tx:
            service = tx.services.get(principal.workspace, name)
            rows = tx.minutes.read(service.id, began)
        steps: dict[float, list[tuple[datetime, Figures]]] = {}
        for at, figures in rows:
            steps.setdefault(at.timestamp() // whole * whole, []).append((at, figures))
        points = tuple(_point(begins, rows, whole) for begins, rows in sorted(steps.items()))
        return ServiceMetrics(service=service.name, step=whole, points=points)

    def _services(self) -> Iterator[tuple[UUID, Figures]]:
        """By service: what was counted in the last `SPAN` seconds, scaled to it."""
        for told in self._told.values():
            if len(told) < 2 or self._clock() - told[-1].at > SILENCE:
                continue
            before = {_key(one): one.figures for one in told[0].figures.deployments}
            scale = SPAN / max(told[-1].at - told[0].at, 0.1)
            counted: dict[UUID, list[Figures]] = {}
            for one in told[-1].figures.deployments:
                new = since(one.figures, before.get(_key(one), {}), scale)
                counted.setdefault(one.service, []).append(new)
            yield from ((service, add(figures)) for service, figures in counted.items())


def _key(one: DeploymentFigures) -> UUID:
    return one.deployment or one.service


def _step(last: float) -> float:
    """A step that makes about sixty points."""
    return max(_MINUTE, last / 60)


def _point(begins: float, rows: list[tuple[datetime, Figures]], seconds: float) -> Point:
    """What was counted in all minutes; of gauges, the most that they were in any of them."""
    minutes: dict[datetime, list[Figures]] = {}
    for at, figures in rows:
        minutes.setdefault(at, []).append(figures)
    sums = [add(figures) for figures in minutes.values()]
    gauges = highest(sums)
    told = load({**add(sums), **{n: s for n, s in gauges.items() if is_gauge(n)}}, seconds)
    return Point(begins=datetime.fromtimestamp(begins, UTC), **told)
