"""How busy replicas and services are, from the board of a gateway; told to the agent in a file."""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from modelyard.agent.gateway.board import Board, row_key
from modelyard.agent.gateway.config import GatewayConfig, ServiceRoute, Upstream
from modelyard.files import replace_file

FRESH = 1.0
"""Seconds for which a gateway's word counts; it is renewed twenty times as often."""

_log = logging.getLogger("modelyard.gateway")


def at_replica(service: str, upstream: Upstream) -> str:
    """Name of the row with the requests in flight at a replica of a service."""
    return "\n".join(("at", service, upstream.socket, upstream.deployment, upstream.replica))


def waiting_for(service: str) -> str:
    """Name of the row with the requests of a service that wait for a replica."""
    return f"waiting\n{service}"


def first_waiting_for(service: str, deployment: str) -> str:
    """Name of the row that tells since when the first of them waits for a deployment, or for any.

    Milliseconds of a monotonic clock.
    """
    return f"first\n{service}\n{deployment}"


def loads(board: Board, config: GatewayConfig) -> dict[str, int]:
    """Requests at a replica or waiting for one, of services that are scaled by them."""
    return {
        service.name: board.total(waiting_for(service.name))
        + sum(board.total(name) for name in _replicas(service))
        for service in config.services
        if service.elastic
    }


def draining(board: Board, config: GatewayConfig) -> dict[str, int]:
    """Replicas that get nothing new and have requests in flight, with how many."""
    active = {row_key(name) for service in config.services for name in _replicas(service)}
    counts: Counter[str] = Counter()
    for key, replica, in_flight in board.rows():
        if replica and in_flight and key not in active:
            counts[replica] += in_flight
    return dict(counts)


def _replicas(service: ServiceRoute) -> list[str]:
    """Names of their rows."""
    return [at_replica(service.name, upstream) for upstream in service.upstreams]


class LoadFile:
    """Requests at a replica or waiting for one, by service; written anew at every call."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._failed = False

    def publish(self, loads: Mapping[str, int]) -> None:
        """Write the loads of this moment. A full disk is logged once and tried again."""
        try:
            document = {"at": time.monotonic(), "loads": loads}
            replace_file(self._path, json.dumps(document), durable=False)
            self._failed = False
        except OSError as error:
            if not self._failed:
                _log.error("the load cannot be told, so nothing is scaled: %s", error)
            self._failed = True


def read_loads(path: Path) -> dict[str, int]:
    """The loads that a gateway of this host told within the last second; none if it did not."""
    try:
        document = json.loads(path.read_bytes())
        is_fresh = 0 <= time.monotonic() - document["at"] <= FRESH
        return dict(document["loads"]) if is_fresh else {}
    except (OSError, ValueError, LookupError, TypeError):
        return {}
