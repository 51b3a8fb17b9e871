"""The server's side of the agent on its own host."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.integration.agent.fake_server import wait_for
from tests.integration.agent.host import Host

from modelyard.agent.gatekeeper import Access
from modelyard.agent.local import LocalAgent
from modelyard.agent.shutdown import RunningAgent, running_agent, stop_agent, stop_everything
from modelyard.settings import SandboxMode


@contextmanager
def kept_running(host: Host, url: str) -> Iterator[LocalAgent]:
    agent = LocalAgent(host.folder, url, Access(), sandbox=SandboxMode.OFF)
    watch = threading.Thread(target=agent.keep_running)
    watch.start()
    try:
        yield agent
    finally:
        agent.stop_watching()
        watch.join()


def running(host: Host) -> RunningAgent:
    return wait_for(lambda: running_agent(host.home))


def test_agent_is_started_and_outlives_its_watch(host: Host) -> None:
    with kept_running(host, host.server.url):
        started = running(host)
        host.serve(host.deployment("a"), replicas=1)
    assert running_agent(host.home) == started
    assert host.score().status_code == 200


def test_killed_agent_is_started_again(host: Host) -> None:
    with kept_running(host, host.server.url):
        first = running(host)
        os.kill(first.pid, signal.SIGKILL)
        wait_for(lambda: (found := running_agent(host.home)) and found.pid != first.pid)


def test_agent_that_runs_is_kept(host: Host) -> None:
    agent = host.start_agent()
    with kept_running(host, host.server.url):
        host.serve(host.deployment("a"), replicas=1)
        assert running(host).pid == agent.pid


def test_agent_of_a_server_at_another_address_is_replaced(host: Host) -> None:
    agent = host.start_agent()
    with kept_running(host, host.server.url.replace("127.0.0.1", "localhost")):
        agent.wait()
        wait_for(
            lambda: (
                (found := running_agent(host.home))
                and any(argument.startswith("http://localhost") for argument in found.arguments)
            )
        )
        host.serve(host.deployment("a"), replicas=1)


def test_everything_is_stopped_at_once(host: Host) -> None:
    with kept_running(host, host.server.url) as agent:
        host.serve(host.deployment("a"), replicas=1)
        agent.stop_watching()
    agent.stop_everything()
    assert running_agent(host.home) is None
    assert not any(replica.alive for replica in host.replicas())


def test_stopping_what_never_ran_is_no_error(host: Host) -> None:
    stop_agent(host.home)
    stop_everything(host.folder)
    stop_everything(host.folder / "never-made")
