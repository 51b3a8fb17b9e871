"""Decides how many replicas each service has that is scaled by its load; `domain.scaling` says how.

Called by the loop in every turn: what it returns is the desired state with numbers filled in. What
it knows of the past is in memory only: a new agent takes nothing away for its first minute.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf
from uuid import UUID

from modelyard.agent.drivers.base import Replica
from modelyard.domain.scaling import LoadHistory, Scale, wanted_replicas
from modelyard.domain.service import DesiredService, DesiredState


class Autoscaler:
    """Fills in the numbers of replicas. Belongs to the agent's loop."""

    def __init__(self) -> None:
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
        if not elastic:
            return desired
        numbers = {
            service.id: self._number(service, list(replicas), loads, reached, now)
            for service in elastic
        }
        services = tuple(
            service.model_copy(update={"replicas": numbers[service.id]})
            if service.id in numbers
            else service
            for service in desired.services
        )
        return desired.model_copy(update={"services": services})

    def _number(
        self,
        service: DesiredService,
        replicas: list[Replica],
        loads: Mapping[str, int],
        reached: Mapping[UUID, int],
        now: float,
    ) -> int:
        history = self._histories.setdefault(service.id, LoadHistory(now))
        current = self._wanted.get(service.id)
        if current is None:  # a new agent: what an earlier one had started stays for now
            current = sum(r.alive and _serves(r, service) for r in replicas)
        if service.name in loads:
            history.add(now, loads[service.name])
            current = wanted_replicas(history, current, _scale(service), now)
        # A change counts as reached only when replicas of it have been ready.
        arriving = reached.get(service.id, 0) < service.generation
        least = max(service.replicas, 1) if arriving else service.replicas
        number = min(max(current, least), service.most_replicas)
        self._wanted[service.id] = number
        return number

    def _forget_others(self, services: set[UUID]) -> None:
        for service in self._histories.keys() - services:
            del self._histories[service]
            self._wanted.pop(service, None)


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
