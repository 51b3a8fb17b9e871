"""How many replicas a service should have for the load it has. Pure: the time is an argument.

Utilisation is what is busy or waits over what the replicas may have in flight. Up: at once, as far
as the last half second needs for `TARGET`. Down: to the most that any moment of the last minute
needed, so that a load which goes up and down moves nothing. To zero: after a time without requests.

What a host has is respected: further replicas are granted only where they fit. Those there are,
those asked for by number, and the first of a service that has requests are granted anyway. Replicas
take the memory that they may use; ready ones of services that keep their number, what they do use.
Cores are only counted within a service: replicas without requests take none.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

TARGET = 0.7
"""Utilisation that is aimed at. The rest is room for a load that grows while replicas start."""
LOOK_BACK = 0.5
"""Seconds over which load is averaged: single moments say little."""
CALM = 60.0
"""Seconds for which fewer replicas must have been enough before one is taken away."""
CORES_SHARED = 4
"""How many cores of one service's replicas may share one of the host's: most of them wait."""

Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class Scale:
    """Between what a service is scaled."""

    least: int
    most: int
    capacity: int
    """Requests in flight that one replica may have."""
    idle_time: float
    """Seconds without a request until it goes to zero; infinite where it must not."""


class LoadHistory:
    """What the load of one service was lately, as far as it matters."""

    def __init__(self, now: float) -> None:
        self._began = now
        self._recent: deque[tuple[float, float]] = deque()
        """Times and requests of the last `LOOK_BACK`."""
        self._peaks: deque[tuple[float, float]] = deque()
        """Averages of the last `CALM` that no later one exceeds, the highest first."""
        self._last_request = now

    def add(self, now: float, requests: float) -> None:
        """At this time, so many requests were busy or waiting; times must not go back."""
        if requests:
            self._last_request = now
        self._recent.append((now, requests))
        while self._recent[0][0] < now - LOOK_BACK:
            self._recent.popleft()
        average = self.average
        while self._peaks and self._peaks[-1][1] <= average:
            self._peaks.pop()
        self._peaks.append((now, average))
        while self._peaks[0][0] < now - CALM:
            self._peaks.popleft()

    @property
    def average(self) -> float:
        """Requests that were busy or waiting, over the last half second."""
        return sum(requests for _, requests in self._recent) / max(len(self._recent), 1)

    @property
    def peak(self) -> float:
        """The highest average of the last minute."""
        return self._peaks[0][1] if self._peaks else 0.0

    def is_calm(self, now: float) -> bool:
        """It is known for long enough to take replicas away."""
        return now - self._began >= CALM

    def idle_for(self, now: float) -> float:
        """Seconds since the last request."""
        return now - self._last_request


def wanted_replicas(history: LoadHistory, current: int, scale: Scale, now: float) -> int:
    """How many replicas there should be, given that there are `current`."""
    if history.idle_for(now) >= scale.idle_time:
        return 0
    upwards = _needed(history.average, scale)
    lasting = _needed(history.peak, scale) if history.is_calm(now) else current
    wanted = upwards if upwards > current else min(current, max(lasting, upwards))
    return min(max(wanted, scale.least, 1), scale.most)


def _needed(requests: float, scale: Scale) -> int:
    # A hair less, so that a load which is just at the target does not take one more.
    return math.ceil(requests / (scale.capacity * TARGET) - 1e-9)


@dataclass(frozen=True, slots=True)
class Room:
    """What replicas of one host may have, all together."""

    memory: int
    """Bytes."""
    cores: float

    def shortage(self, replicas: int, memory: int, cores: float) -> str:
        """What so many replicas of a service lack here: `memory`, `cores`, or nothing."""
        if replicas * memory > self.memory:
            return "memory"
        return "cores" if replicas * cores > self.cores * CORES_SHARED else ""


@dataclass(frozen=True, slots=True)
class Demand:
    """What one service would have."""

    ready: int
    """Replicas whose memory the room is without already."""
    granted: int
    """Replicas that it has in any case."""
    wanted: int
    """Replicas that its load needs, at least as many."""
    memory: int
    """Bytes that one replica may use."""
    cores: float
    """Of one replica."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What one service gets."""

    replicas: int
    lacks: str = ""
    """What the host has no more of: `memory` or `cores`; empty when it gets what it wants."""


def grant(room: Room, demands: Mapping[Key, Demand]) -> dict[Key, Grant]:
    """Share out a host, one replica after the other, to whom has the least part of what it wants.

    Args:
        room: What is left beside replicas whose use of memory is known and stays.
        demands: Those of all services of the host.
    """
    starting = (max(one.granted - one.ready, 0) * one.memory for one in demands.values())
    free = room.memory - sum(starting)
    grants = {key: Grant(demand.granted) for key, demand in demands.items()}
    waiting = {key: demand for key, demand in demands.items() if demand.wanted > demand.granted}
    while waiting:
        key = min(waiting, key=lambda key: grants[key].replicas / waiting[key].wanted)
        demand, number = waiting[key], grants[key].replicas + 1
        lacks = "memory" if demand.memory > free else room.shortage(number, 0, demand.cores)
        if lacks:
            grants[key] = Grant(number - 1, lacks)
            del waiting[key]
            continue
        free -= demand.memory
        grants[key] = Grant(number)
        if number == demand.wanted:
            del waiting[key]
    return grants
