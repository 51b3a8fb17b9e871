"""Replicas that are killed, and scripts that take their workers with them."""

from __future__ import annotations

import os
import signal
import time

import pytest
from tests.integration.runtime.replica import Replica, is_alive, replica
from tests.integration.runtime.wire import PATIENCE, Wire, request

SCRIPT = """
import os, time
def init(): pass
def run(data: list):
    name = data[0]
    if name == "exit": os._exit(9)
    if name == "segfault":
        import ctypes
        ctypes.string_at(0)
    if name == "sleep": time.sleep(data[1])
    return os.getpid()
"""
HOLDS_EVERYTHING_UP = """
import ctypes
def run(data: list):
    if data:
        ctypes.PyDLL(None).usleep(100_000_000)  # a C call that keeps the interpreter locked
    return 1
"""


def processes_of(running: Replica) -> list[int]:
    """The replica's own process, the one that has loaded, and the workers."""
    parents = {running.process.pid}
    found = set(parents)
    while parents:
        parents = {child for pid in parents for child in children_of(pid)} - found
        found |= parents
    return sorted(found)


def children_of(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(text) for text in file.read().split()]


def wait_until_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + PATIENCE
    while any(is_alive(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.01)


class TestKilled:
    @pytest.mark.parametrize("which", [0, 1])
    def test_takes_its_workers_with_it(self, which: int) -> None:
        with replica(SCRIPT) as running:
            everyone = processes_of(running)
            assert len(everyone) == 4
            os.kill(everyone[which], signal.SIGKILL)
            assert running.process.wait(PATIENCE) == -signal.SIGKILL
            wait_until_gone(everyone)

    def test_while_loading_takes_that_with_it(self) -> None:
        script = "def init():\n    while True: pass\ndef run(data): ..."
        with replica(script, ready=False) as running:
            running.wait_for(lambda status: status.get("phase") == "initialising")
            everyone = processes_of(running)
            running.process.kill()
            wait_until_gone(everyone)

    def test_while_a_worker_lets_nothing_else_run(self) -> None:
        with replica(HOLDS_EVERYTHING_UP, workers=1) as running, Wire(running.socket) as wire:
            everyone = processes_of(running)
            wire.send(request("POST", "/score", b"[1]"))
            time.sleep(0.2)
            running.process.kill()
            wait_until_gone(everyone)


class TestWorkerDies:
    @pytest.mark.parametrize("how", ["exit", "segfault"])
    def test_others_do_not_notice(self, how: str) -> None:
        with replica(SCRIPT) as running:
            with Wire(running.socket) as wire:
                wire.send(request("POST", "/score", f'["{how}"]'.encode()))
                assert wire.rest() == b""
            for _ in range(20):
                assert running.score(["pid"]).json()
            status = running.wait_for(lambda status: len(status["workers"]) == 2)
            assert status["worker_restarts"] == 1

    def test_again_and_again_is_replaced_ever_later(self) -> None:
        with replica(SCRIPT, workers=1) as running:
            for count in range(1, 5):
                with Wire(running.socket) as wire:
                    wire.send(request("POST", "/score", b'["exit"]'))
                    wire.rest()
                running.wait_for(
                    lambda status, count=count: (
                        status["worker_restarts"] == count and status["workers"]
                    )
                )
            assert running.score(["pid"]).json() in running.workers

    def test_when_it_lets_nothing_else_run_is_killed(self) -> None:
        settings = {"scoring_timeout": 0.5, "workers": 1}
        with replica(HOLDS_EVERYTHING_UP, **settings) as running:
            (stuck,) = running.workers
            with Wire(running.socket) as wire:
                wire.send(request("POST", "/score", b"[1]"))
                assert wire.rest() == b""
            running.wait_for(lambda status: status["workers"] not in ([], [stuck]))
            assert running.score([]).status == 200
            assert "lets nothing but `run()` execute" in running.log.read_text()
