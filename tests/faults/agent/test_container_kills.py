"""Kill -9 of everything that has a part in a container, and an engine that forgets."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.containers.podman import Podman
from tests.integration.agent.fake_server import wait_for
from tests.integration.agent.host import Host, a_host, scoring
from tests.unit.agent.making import make_service

from modelyard.agent.container.spec import AGENT_LABEL
from modelyard.agent.drivers.by_target import Drivers
from modelyard.agent.drivers.container import agent_id
from modelyard.agent.engine.host import Engines
from modelyard.agent.provision.engine import EngineImages
from modelyard.agent.provision.fetching import BlobCache
from modelyard.domain.cause import CauseCode
from modelyard.domain.desired import DesiredService


@pytest.fixture
def host(home: Path, podman: Podman) -> Iterator[Host]:
    with a_host(home / "home", podman.socket) as host:
        yield host
    assert containers(host) == []


@pytest.fixture
def service(host: Host) -> DesiredService:
    """One replica that serves."""
    host.start_agent()
    return host.serve(host.deployment("a"), replicas=1)


def containers(host: Host) -> list[str]:
    """Ids of the host's own containers, as the engine has them."""
    engine = Engines(str(host.engine)).find().engine
    return [found["Id"] for found in engine.containers(f"{AGENT_LABEL}={agent_id(host.home)}")]


def lives(host: Host) -> set[str]:
    """What tells the runtimes that run now from others."""
    return {host.ask(replica)["life"] for replica in host.replicas() if replica.ready}


def programs(host: Host, module: str) -> list[psutil.Process]:
    """Processes of a module that look after replicas of the host."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if module in (process.info["cmdline"] or ())
        and any(str(host.folder) in word for word in process.info["cmdline"])
    ]


def kill(host: Host, module: str) -> None:
    [process] = programs(host, module)
    process.kill()
    wait_for(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)


def is_back(host: Host, service: DesiredService) -> None:
    host.server.observed.clear()
    host.reached(service)
    assert host.score().status_code == 200


def test_killed_agent_costs_no_request(host: Host, service: DesiredService) -> None:
    before = lives(host)
    with scoring(host) as answers:
        host.kill_agent()
        count = answers["a"]
        wait_for(lambda: answers["a"] > count + 50)
        host.start_agent()
        is_back(host, service)
    assert set(answers) == {"a"}
    assert lives(host) == before


@pytest.mark.parametrize("module", ["modelyard.agent.container", "modelyard.agent.supervisor"])
def test_container_outlives_who_held_it(host: Host, service: DesiredService, module: str) -> None:
    before = lives(host)
    kill(host, module)
    wait_for(lambda: programs(host, module))
    is_back(host, service)
    assert lives(host) == before
    assert len(containers(host)) == 1


def test_update_replaces_containers_without_a_failed_request(
    host: Host, service: DesiredService
) -> None:
    with scoring(host) as answers:
        wait_for(lambda: answers["a"])
        host.serve(host.deployment("b", mark="2"), replicas=1, generation=2)
        wait_for(lambda: answers["b"])
    assert set(answers) == {"a", "b"}
    wait_for(lambda: len(containers(host)) == 1)


def test_killed_container_is_back(host: Host, service: DesiredService, podman: Podman) -> None:
    before = lives(host)
    [container] = containers(host)
    podman.run("kill", "--signal", "KILL", container)
    wait_for(lambda: any(replica.restarts and replica.ready for replica in host.replicas()))
    is_back(host, service)
    assert lives(host) != before
    assert container not in containers(host)


def test_restarted_engine_costs_nothing(
    host: Host, service: DesiredService, podman: Podman
) -> None:
    before = lives(host)
    podman.kill()
    try:
        assert host.score().status_code == 200
    finally:
        podman.start()
    [replica] = host.replicas()
    wait_for(lambda: host.ask(replica, "/print?3") and "line 2" in host.server.log_text(replica.id))
    assert lives(host) == before
    assert replica.restarts == 0


def test_engine_that_takes_its_containers_along_is_waited_for(
    host: Host, service: DesiredService, podman: Podman
) -> None:
    [container] = containers(host)
    pid = int(podman.run("inspect", "--format", "{{.State.Pid}}", container))
    podman.kill()
    try:
        os.kill(pid, signal.SIGKILL)
        seen = wait_for(lambda: next((r for r in host.replicas() if r.failures > 1), None))
        assert seen.cause is not None
        assert seen.cause.code is CauseCode.NO_ENGINE
    finally:
        podman.start()
    is_back(host, service)
    assert container not in containers(host)


def test_engine_that_lost_its_images_gets_them_again(
    host: Host, service: DesiredService, podman: Podman
) -> None:
    [container] = containers(host)
    podman.run("rm", "--force", "--time", "0", container)
    podman.run("rmi", "--all", "--force")
    wait_for(lambda: containers(host) not in ([], [container]))
    is_back(host, service)


def test_what_nobody_supervises_is_removed_and_nothing_else(
    host: Host, service: DesiredService, podman: Podman
) -> None:
    [ours] = containers(host)
    [image] = podman.run("inspect", "--format", "{{.Image}}", ours).split()
    podman.run("create", "--name", "stranger", image, "/stranger")
    host.kill_agent()
    for module in ("modelyard.agent.supervisor", "modelyard.agent.container"):
        for process in programs(host, module):
            process.kill()
    [folder] = host.home.containers.iterdir()
    shutil.rmtree(folder)
    driver = Drivers(host.home, Engines(str(host.engine))).containers
    driver.sweep()
    assert containers(host) == [ours]  # once is no proof
    driver.sweep()
    assert containers(host) == []
    assert "stranger" in podman.run("ps", "--all", "--format", "{{.Names}}").split()
    podman.run("rm", "stranger")


def test_images_that_nothing_needs_are_removed(host: Host, service: DesiredService) -> None:
    engines = Engines(str(host.engine))
    images = EngineImages(agent_id(host.home), engines, BlobCache(host.home.blobs, host.server))
    needed = service.deployments[0].manifest
    host.serve(host.deployment("b", mark="2"), replicas=1, generation=2)
    wait_for(lambda: len(containers(host)) == 1)
    kept = host.deployment("b", mark="2").manifest

    def are_there() -> list[bool]:
        there = [
            tag
            for found in engines.find().engine.images(f"localhost/modelyard/{agent_id(host.home)}")
            for tag in found["RepoTags"]
        ]
        digests = [manifest.digest.removeprefix("sha256:") for manifest in (needed, kept)]
        return [any(digest in tag for tag in there) for digest in digests]

    answers = itertools.chain([[kept]], itertools.repeat([kept, needed]))
    images.keep_only(lambda: next(answers))
    assert are_there() == [True, True]  # it came to be needed meanwhile
    images.keep_only(lambda: [kept])
    assert are_there() == [False, True]


def test_everything_ends_with_the_host(host: Host, service: DesiredService) -> None:
    host.close()
    assert containers(host) == []
    assert programs(host, "modelyard.agent.container") == []


def test_cpu_limit_is_real(host: Host, podman: Podman) -> None:
    host.start_agent()
    deployment = host.deployment("a")
    half = deployment.settings.model_copy(update={"cpu": 0.5})
    service = make_service(deployment.model_copy(update={"settings": half}), replicas=1)
    host.want(service)
    host.reached(service)
    [replica] = host.replicas()
    used = host.ask(replica, "/burn?2")["cpu_seconds"]
    assert used < 1.5  # of the two seconds, one is allowed


def test_memory_limit_is_the_kernels(host: Host, service: DesiredService) -> None:
    [replica] = host.replicas()
    with pytest.raises(Exception, match=r"disconnected|reset|closed"):
        host.ask(replica, "/eat?300")
    back = wait_for(lambda: next((r for r in host.replicas() if r.restarts and r.ready), None))
    assert back.cause is not None
    assert back.cause.code is CauseCode.OUT_OF_MEMORY
    assert "256 MiB" in back.cause.message


def test_stopping_survives_a_dead_engine(
    host: Host, service: DesiredService, podman: Podman
) -> None:
    [holder] = programs(host, "modelyard.agent.container")
    podman.kill()
    try:
        host.want()
        os.kill(holder.pid, signal.SIGTERM)
        assert holder.is_running()
    finally:
        podman.start()
    wait_for(lambda: containers(host) == [])
