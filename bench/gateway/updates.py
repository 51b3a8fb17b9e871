"""Rolling updates of a service, and gateways that take over, while clients go on asking."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench._race import figure, free_port, running, wait_for
from bench.gateway.clients import Steady
from bench.gateway.fronts import WIRE, echoes, gateway_command, route
from bench.gateway.product import product
from modelyard.agent.gateway import REPLACE
from modelyard.agent.gateway.config import GatewayConfig, write_config

_TIMES = int(os.environ.get("BENCH_UPDATES", "20"))


def run() -> Iterator[dict[str, Any]]:
    """The figures."""
    yield from _updates()
    yield from _restarts()


def _updates() -> Iterator[dict[str, Any]]:
    with product() as whole:
        images = [whole.image(note) for note in ("one", "other")]
        port, wire = whole.deploy(images[0])

        def update(number: int) -> None:
            whole.yard.services.update("bench", image=images[(number + 1) % 2])

        yield from _figures("updates of one replica", update, Steady(port, wire))


def _restarts() -> Iterator[dict[str, Any]]:
    """Each gateway takes over from the one before, as the agent has it after an upgrade."""
    with (
        tempfile.TemporaryDirectory(prefix="my-") as name,
        echoes(0, 0) as replicas,
        ExitStack() as stack,
    ):
        folder, port = Path(name), free_port()
        write_config(folder / "config.json", GatewayConfig(1, (route(replicas),)))
        command = gateway_command(folder, port, processes=2)
        gateways = [stack.enter_context(running(command))]
        wait_for(port)

        def restart(number: int) -> None:
            gateways.append(stack.enter_context(running([*command, REPLACE])))
            while not gateways[-2].ended():
                if gateways[-1].ended():
                    raise RuntimeError("a gateway did not take over")
                time.sleep(0.01)

        yield from _figures("restarts of the gateway", restart, Steady(port, WIRE))


def _figures(what: str, change: Callable[[int], None], clients: Steady) -> Iterator[dict[str, Any]]:
    took = []
    with clients.asking():
        for number in range(_TIMES):
            began = time.monotonic()
            change(number)
            took.append(time.monotonic() - began)
    what = f"{_TIMES} {what}"
    yield figure(f"{what}, seconds for one", statistics.median(took), "s")
    yield figure(f"{what}, requests", len(clients.seen), "requests")
    yield figure(f"{what}, failed requests", len(clients.failures), "requests", "<= 0")
    yield figure(f"{what}, p99", clients.p99(), "ms")
