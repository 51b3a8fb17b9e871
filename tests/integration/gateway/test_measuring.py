"""The clients of `bench/gateway` see what fails: otherwise a figure of 0 would say nothing."""

from __future__ import annotations

import os
import signal
import time
from importlib import import_module

import pytest
from bench import capture, gateway
from bench.gateway.clients import Steady, status, with_key
from bench.gateway.fronts import OURS, WIRE, echoes, started


def test_requests_that_are_answered_and_others_are_told_apart() -> None:
    with echoes(0) as replicas, started(OURS, replicas) as gateway:
        assert status(gateway.port, WIRE) == 200
        clients = Steady(gateway.port, WIRE, rate=100, clients=4)
        with clients.asking():
            _wait_for(clients, 20)
            assert not clients.failures
            clients.wire = with_key(WIRE, "wrong")
            _wait_for(clients, 20)
            assert clients.failures[-1].failure.startswith("401")
            clients.wire = WIRE
            _wait_for(clients, 20)
            before = len(clients.failures)
            _wait_for(clients, 20)
            assert len(clients.failures) == before
            for pid in gateway.family.pids():
                os.kill(pid, signal.SIGKILL)
            _wait_for(clients, 20)
        assert "Error" in clients.failures[-1].failure


@pytest.mark.parametrize(
    "part", [f"{bench.__name__}.{part}" for bench in (capture, gateway) for part in bench.PARTS]
)
def test_every_part_can_be_run(part: str) -> None:
    assert callable(import_module(part).run)


def _wait_for(clients: Steady, more: int) -> None:
    """So many further requests have ended."""
    wanted, deadline = len(clients.seen) + more, time.monotonic() + 60
    while len(clients.seen) < wanted:
        assert time.monotonic() < deadline, clients.seen[-3:]
        time.sleep(0.01)
