"""`kill -9` of each kind of process while clients go on asking: what fails, and for how long."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import modelyard
from bench._race import figure
from bench.gateway.clients import Steady
from bench.gateway.product import Product, lasting, product

_TIMES = 3
_CLIENTS = 20
_BEFORE, _AFTER = 1.0, 5.0
"""Seconds of load before and after each kill."""
_SECONDS = 0.05
"""That a request takes, so that some are always on their way."""


def run() -> Iterator[dict[str, Any]]:
    """The figures."""
    with product() as running:
        port, wire = running.deploy(running.image(), replicas=2)
        slow = lasting(wire, _SECONDS)
        for what, kill, most in (
            ("a replica", _replica, _CLIENTS),
            ("a gateway process", _gateway, _CLIENTS),
            ("the agent", _agent, 0),
            ("the server", _server, 0),
        ):
            with Steady(port, slow, 100, _CLIENTS).asking() as clients:
                longest = max(_interruption(running, kill, clients) for _ in range(_TIMES))
            failed = len(clients.failures)
            title = f"{_TIMES} kills of {what}"
            yield figure(f"{title}, requests", len(clients.seen), "requests")
            yield figure(f"{title}, failed requests", failed, "requests", f"<= {most * _TIMES}")
            yield figure(f"{title}, all answered again after", longest, "s", "<= 2")


def _interruption(running: Product, kill: Callable[[Product], None], clients: Steady) -> float:
    """Seconds from a kill to the end of the last request that failed after it."""
    time.sleep(_BEFORE)
    before, began = len(clients.seen), time.monotonic()
    kill(running)
    time.sleep(max(0.0, began + _AFTER - time.monotonic()))
    ends = [one.at + one.seconds - began for one in clients.seen[before:] if one.failure]
    return max(ends, default=0.0)


def _replica(running: Product) -> None:
    state = next((running.home / "agent" / "replicas").glob("*/state.json"))
    _kill(running.document(*state.relative_to(running.home).parts)["runtime"])


def _gateway(running: Product) -> None:
    _kill(running.gateway_processes()[-1])


def _agent(running: Product) -> None:
    killed = running.document("agent", "agent.json")["pid"]
    _kill(killed)
    while running.document("agent", "agent.json")["pid"] == killed:
        time.sleep(0.05)


def _server(running: Product) -> None:
    _kill(running.document("server.json")["pid"])
    with modelyard.connect() as yard:  # starts another one
        yard.services.get("bench")


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
