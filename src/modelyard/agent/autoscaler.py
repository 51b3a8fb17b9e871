"""Decides how many replicas each service has that is scaled by its load, as far as the host allows;
`domain.scaling` says how.

Called by the loop in every turn: what it returns is the desired state with numbers filled in. What
it knows of the past is in memory only: a new agent takes nothing away for its first minute.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import inf
from uuid import UUID

from modelyard.agent.drivers.base import Replica
from modelyard.domain.cause import Cause, CauseCode
from modelyard.domain.desired import DesiredService, DesiredState
from modelyard.domain.scaling import (
    CORES_SHARED,
    Demand,
    Grant,
    LoadHistory,
    Room,
    Scale,
    grant,
    wanted_replicas,
)
from modelyard.domain.values import size_text


class Autoscaler:
    """Fills in the numbers of replicas. Belongs to the agent's loop.

    Args:
        room: What this host has for replicas.

    Attributes:
        shortages: Services for which that is too little, by name.
    """

    def __init__(self, room: Room) -> None:
        self.shortages: dict[str, Cause] = {}
        self._room = room
        self._histories: dict[UUID, LoadHistory] = {}
        self._wanted: dict[UUID, int] = {}

    def scale(
        self,
        desired: DesiredState,
        replicas: Iterable[Replica],
        loads: Mapping[str, int],
        reached: Mapping[UUID, int],
        now: float,
    ) -> DesiredState:
        """What is desired, with a number of replicas for every service.

        Args:
            desired: As the control plane has it.
            replicas: All that this host has.
            loads: Requests busy or waiting, by service, as far as the gateway tells.
            reached: The generation that each service has fully reached.
            now: Monotonic seconds.
        """
        elastic = [service for service in desired.services if service.elastic]
        self._forget_others({service.id for service in elastic})
        there = list(replicas)
        demands = {
            service.id: self._demand(service, there, loads, reached, now)
            if service.elastic
            else _fixed(service, there)
            for service in desired.services
        }
        following = {service.id for service in elastic}
        used = sum(r.memory for r in there if r.ready and r.identity.service not in following)
        grants = grant(replace(self._room, memory=self._room.memory - used), demands)
        self.shortages = {
            service.name: cause
            for service in desired.services
            if (cause := self._shortage(service, demands[service.id], grants[service.id]))
        }
        if not elastic:
            return desired
        self._wanted = {service.id: grants[service.id].replicas for service in elastic}
        services = tuple(
            service.model_copy(update={"replicas": self._wanted[service.id]})
            if service.elastic
            else service
            for service in desired.services
        )
        return desired.model_copy(update={"services": services})

    def _demand(
        self,
        service: DesiredService,
        replicas: list[Replica],
        loads: Mapping[str, int],
        reached: Mapping[UUID, int],
        now: float,
    ) -> Demand:
        history = self._histories.setdefault(service.id, LoadHistory(now))
        current = self._wanted.get(service.id)
        if current is None:  # a new agent: what an earlier one had started stays for now
            current = sum(r.alive and _serves(r, service) for r in replicas)
        number = current
        if service.name in loads:
            history.add(now, loads[service.name])
            number = wanted_replicas(history, current, _scale(service), now)
        # A change counts as reached only when replicas of it have been ready.
        arriving = reached.get(service.id, 0) < service.generation
        least = max(service.replicas, 1) if arriving else service.replicas
        number = min(max(number, least), service.most_replicas)
        granted = min(number, max(current, service.replicas, 1))
        return Demand(0, granted, number, *_needs(service))

    def _shortage(self, service: DesiredService, demand: Demand, granted: Grant) -> Cause | None:
        """What to say of a service for which this host has too little."""
        asked = self._room.shortage(service.replicas, demand.memory, demand.cores)
        if granted.lacks:
            said = (
                f"wants {demand.wanted} replicas for its load, and this host has {granted.lacks} "
                f"for {granted.replicas}."
            )
        elif asked:
            said = (
                f"was asked to have {service.replicas} replica{'s' * (service.replicas > 1)}, for "
                f"which this host has not enough {asked}."
            )
        else:
            return None
        return Cause(
            code=CauseCode.HOST_FULL,
            message=f"`{service.name}` {said}",
            evidence=(
                f"each replica: up to {size_text(demand.memory)}, cores {demand.cores:g}",
                f"all replicas of this host: {size_text(self._room.memory)}, cores "
                f"{self._room.cores:g}, each shared by {CORES_SHARED} of a service",
            ),
            fix="Give replicas less `memory` or `cpu`: `modelyard profile` tells what an image "
            "needs. Or ask for fewer, or take another service away.",
        )

    def _forget_others(self, services: set[UUID]) -> None:
        for service in self._histories.keys() - services:
            del self._histories[service]
            self._wanted.pop(service, None)


def _fixed(service: DesiredService, replicas: list[Replica]) -> Demand:
    ready = sum(r.ready and r.identity.service == service.id for r in replicas)
    return Demand(ready, service.replicas, service.replicas, *_needs(service))


def _needs(service: DesiredService) -> tuple[int, float]:
    """Memory and cores of one replica."""
    settings = [deployment.settings for deployment in service.wanted]
    memory = max((one.memory for one in settings), default=0)
    return memory, max((one.cpu for one in settings), default=0.0)


def _serves(replica: Replica, service: DesiredService) -> bool:
    identity = replica.identity
    return identity.service == service.id and identity.deployment != service.candidate


def _scale(service: DesiredService) -> Scale:
    return Scale(
        least=service.replicas,
        most=service.most_replicas,
        capacity=service.max_concurrent_requests,
        idle_time=service.idle_time if service.sleeps else inf,
    )
