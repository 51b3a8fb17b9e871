"""Replicas that follow the load, in a running product."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import modelyard


def wait_until(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def ready(yard: modelyard.Client, name: str) -> int:
    return sum(one.state == "Ready" for one in yard.services.get(name).status.replicas)


def test_a_second_replica_comes_with_the_load(yard: modelyard.Client, breakable: str) -> None:
    yard.services.deploy("grows", breakable, max_replicas=2, max_concurrent_requests=1)
    assert ready(yard, "grows") == 1
    stop = threading.Event()
    failures: list[Exception] = []

    def load() -> None:
        while not stop.is_set():
            try:
                yard.services.score("grows", {"sleep": 0.2})
            except modelyard.ModelyardError as error:
                failures.append(error)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: ready(yard, "grows") == 2)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures
    yard.services.delete("grows")


def test_a_service_sleeps_and_wakes_without_a_failed_request(
    yard: modelyard.Client, breakable: str
) -> None:
    yard.services.deploy("sleeps", breakable, replicas=0, max_replicas=1, idle_time="1s")
    for _ in range(2):
        wait_until(lambda: not yard.services.get("sleeps").status.replicas)
        assert yard.services.get("sleeps").status.state == "Healthy"
        wait_until(lambda: yard.services.get("sleeps").status.asleep)
        wait_until(
            lambda: "sleeps" in {load.service for load in yard.services.top() if load.asleep}
        )
        assert yard.services.score("sleeps", {})["answer"] == "forty-two"
    yard.services.delete("sleeps")
