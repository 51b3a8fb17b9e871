"""Updates under load: nothing fails, and there are never fewer replicas than asked for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.integration.agent.fake_server import wait_for
from tests.integration.agent.host import Host, scoring

from modelyard.agent.gateway.config import read_config

TIMES = 20


@contextmanager
def fewest_routed(host: Host) -> Iterator[list[int]]:
    """How many replicas the gateway knew, whenever there was another document."""
    seen: list[int] = []
    ending = threading.Event()

    def look() -> None:
        version = 0
        while not ending.wait(0.002):
            config = read_config(host.home.gateway / "config.json")
            if config.version != version:
                version = config.version
                seen.append(sum(len(service.upstreams) for service in config.services))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        ending.set()
        thread.join()


def test_twenty_updates_of_one_replica_cost_no_request(host: Host) -> None:
    host.start_agent()
    host.serve(host.deployment("0"), replicas=1)
    with scoring(host) as answers, fewest_routed(host) as routed:
        wait_for(lambda: answers["0"])
        for number in range(1, TIMES + 1):
            name = str(number)
            host.serve(host.deployment(name), replicas=1, generation=number + 1)
            wait_for(lambda name=name: answers[name])
    assert set(answers) == {str(number) for number in range(TIMES + 1)}
    assert len(routed) >= TIMES
    assert min(routed) == 1
