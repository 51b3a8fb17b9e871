"""Kill -9 of every process of a host, and replicas that hang, eat and lie."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
from tests.integration.agent.fake_server import FakeServer, wait_for
from tests.integration.agent.host import Host, scoring
from tests.unit.agent.making import make_service

from modelyard.agent.drivers.base import Replica
from modelyard.agent.gateway.status import GatewayStatus, read_status
from modelyard.domain.cause import CauseCode
from modelyard.domain.observed import ObservedDeployment
from modelyard.domain.service import ReplicaSettings


def supervisor_of(host: Host, replica: Replica) -> int:
    """Process id of a replica's supervisor: it is the runtime's parent."""
    return psutil.Process(host.ask(replica)["pid"]).ppid()


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class TestAgent:
    def test_killed_agent_costs_no_request_and_its_successor_adopts(self, host: Host) -> None:
        host.start_agent()
        old, new = host.deployment("a"), host.deployment("b")
        host.serve(old)
        before = host.runtimes()
        with scoring(host) as answers:
            host.kill_agent()
            count = answers["a"]
            wait_for(lambda: answers["a"] > count + 50)
            host.start_agent()
            host.server.observed.clear()
            host.reached(make_service(old))
            assert host.runtimes() == before
            host.serve(new, generation=2)
            wait_for(lambda: answers["b"])
        assert set(answers) == {"a", "b"}

    @pytest.mark.parametrize("seed", range(2))
    def test_agent_killed_again_and_again_gets_there(self, host: Host, seed: int) -> None:
        chance = random.Random(seed)
        host.start_agent()
        service = host.serve(host.deployment("a"))
        with scoring(host) as answers:
            wait_for(lambda: answers["a"])
            service = make_service(host.deployment("b"), generation=2)
            host.want(service)
            for _ in range(4):
                time.sleep(chance.uniform(0, 0.6))  # the moment of the kill is what varies
                host.kill_agent()
                host.start_agent()
            host.reached(service)
            wait_for(lambda: answers["b"])
        assert set(answers) == {"a", "b"}
        wait_for(lambda: len(host.replicas()) == 2)


class TestSupervisor:
    def test_killed_supervisor_takes_everything_with_it_and_is_replaced(self, host: Host) -> None:
        host.start_agent()
        service = host.serve(host.deployment("a"), replicas=1)
        [replica] = host.replicas()
        runtime, child = host.ask(replica)["pid"], host.ask(replica, "/spawn")["child"]
        os.kill(supervisor_of(host, replica), signal.SIGKILL)
        wait_for(lambda: gone(runtime))
        again = wait_for(lambda: next((r for r in host.replicas() if r.ready), None))
        assert (again.id, again.address, again.restarts) == (replica.id, replica.address, 1)
        assert host.ask(again)["pid"] != runtime
        host.server.observed.clear()
        host.reached(service)
        assert host.score().status_code == 200
        os.kill(child, signal.SIGKILL)  # it had left the runtime's session: nobody's by now

    def test_stopped_supervisor_does_not_hold_up_the_others(self, host: Host) -> None:
        host.start_agent()
        host.serve(host.deployment("a"), replicas=2)
        first, second = host.replicas()
        frozen = supervisor_of(host, first)
        os.kill(frozen, signal.SIGSTOP)
        try:
            os.kill(host.ask(second)["pid"], signal.SIGKILL)
            wait_for(lambda: any(r.ready and r.restarts == 1 for r in host.replicas()))
            assert host.score().status_code == 200
        finally:
            os.kill(frozen, signal.SIGCONT)

    def test_replica_whose_sockets_were_deleted_is_started_anew(self, host: Host) -> None:
        host.start_agent()
        service = host.serve(host.deployment("a"), replicas=1)
        before = host.runtimes()
        for path in host.home.sockets().iterdir():
            path.unlink()
        again = wait_for(lambda: (found := host.runtimes()) != before and found)
        assert again.keys() == before.keys()
        host.server.observed.clear()
        host.reached(service)
        assert host.score().status_code == 200

    def test_supervisor_told_to_end_by_the_system_drains(self, host: Host) -> None:
        host.start_agent()
        host.serve(host.deployment("a"), replicas=1)
        [replica] = host.replicas()
        supervisor = supervisor_of(host, replica)
        host.kill_agent()
        os.kill(supervisor, signal.SIGTERM)
        wait_for(lambda: gone(supervisor))
        assert not Path(replica.address).exists()


class TestRuntime:
    def test_killed_runtime_is_back_behind_its_socket(self, host: Host) -> None:
        host.start_agent()
        host.serve(host.deployment("a"), replicas=2)
        first, second = host.replicas()
        os.kill(host.ask(first)["pid"], signal.SIGKILL)
        back = wait_for(lambda: next((r for r in host.replicas() if r.restarts and r.ready), None))
        assert (back.id, back.address) == (first.id, first.address)
        assert back.cause is not None
        assert back.cause.code is CauseCode.KILLED
        assert host.ask(second)["pid"] == host.runtimes()[second.id]
        [untouched] = [r for r in host.replicas() if r.id == second.id]
        assert untouched.restarts == 0

    def test_greedy_replica_is_ended_alone_and_named(self, host: Host) -> None:
        host.start_agent()
        host.serve(host.deployment("a"), replicas=2)
        first, second = host.replicas()
        before = host.ask(second)["pid"]
        with pytest.raises(httpx2.TransportError):
            host.ask(first, "/eat?2000")
        cause = wait_for(lambda: next((r.cause for r in host.replicas() if r.cause), None))
        assert cause.code is CauseCode.OUT_OF_MEMORY
        assert "256 MiB" in cause.message
        assert host.ask(second)["pid"] == before

    def test_replica_that_cannot_hold_its_model_is_out_of_memory(self, host: Host) -> None:
        host.start_agent()
        deployment = host.deployment("a", MISBEHAVE="eat")
        host.want(make_service(deployment, replicas=1))
        failed = failure(host, deployment.id)
        assert failed.code is CauseCode.OUT_OF_MEMORY

    def test_hung_start_shows_the_line_it_hangs_at(self, host: Host) -> None:
        host.start_agent()
        deployment = host.deployment("a", MISBEHAVE="hang")
        settings = ReplicaSettings(**{**deployment.settings.model_dump(), "startup_timeout": 1})
        deployment = deployment.model_copy(update={"settings": settings})
        host.want(make_service(deployment, replicas=1))
        failed = failure(host, deployment.id)
        assert failed.code is CauseCode.INIT_HUNG
        assert any("__main__.py" in line and "in start" in line for line in failed.evidence)


def failure(host: Host, deployment: object) -> Any:
    """Why the deployment was given up."""

    def seen() -> ObservedDeployment | None:
        service = host.observed()
        found = (d for d in service.deployments if d.failed) if service else iter(())
        return next(found, None)

    reported = wait_for(seen, timeout=60)
    assert reported.id == deployment
    return reported.failed


class TestGateway:
    def test_killed_gateway_comes_back_at_its_port(self, host: Host) -> None:
        host.start_agent()
        host.serve(host.deployment("a"))
        url = host.url
        before = gateway(host)
        for pid in (before.pid, *before.processes):
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: answers(f"{url}/score"))

    def test_killed_parent_costs_no_request_and_its_successor_takes_over(self, host: Host) -> None:
        host.start_agent()
        host.serve(host.deployment("a"))
        before = gateway(host)
        with scoring(host) as answers:
            os.kill(before.pid, signal.SIGKILL)
            wait_for(lambda: gateway(host).pid != before.pid)
            wait_for(lambda: all(map(gone, before.processes)))
        assert set(answers) == {"a"}

    def test_another_setting_replaces_it_without_a_failed_request(self, host: Host) -> None:
        host.start_agent()
        host.serve(host.deployment("a"))
        before = gateway(host)
        with scoring(host) as answers:
            host.kill_agent()
            host.start_agent("--gateway-processes", "1")
            wait_for(lambda: len(gateway(host).processes) == 1)
            wait_for(lambda: all(map(gone, (before.pid, *before.processes))))
        assert set(answers) == {"a"}
        assert gateway(host).url == before.url


def gateway(host: Host) -> GatewayStatus:
    """What it tells, once it serves."""
    path = host.home.gateway / "status.json"
    return wait_for(lambda: (told := read_status(path)) and told.processes and told)


def answers(url: str) -> bool:
    try:
        return httpx2.get(url).status_code == 200
    except httpx2.TransportError:
        return False


class TestServer:
    def test_server_that_comes_back_gets_the_log_whole_and_the_state(self, host: Host) -> None:
        host.start_agent()
        service = host.serve(host.deployment("a"), replicas=1)
        [replica] = host.replicas()
        port, logs, desired = host.server.port, host.server.logs, host.server.desired
        host.server.close()
        host.ask(replica, "/print?2000")
        assert host.score().status_code == 200
        host.server = FakeServer(port)
        host.server.logs = logs
        host.server.want(desired)
        host.reached(service)
        wait_for(lambda: "line 1999\n" in host.server.log_text(replica.id))
        assert host.server.log_text(replica.id).count(" line 7\n") == 1


class TestDisk:
    def test_damaged_wish_touches_nothing(self, host: Host) -> None:
        host.start_agent()
        host.serve(host.deployment("a"))
        before = host.runtimes()
        host.kill_agent()
        url = host.url
        host.server.close()
        host.home.desired.write_text(host.home.desired.read_text()[:-40])
        host.start_agent()
        with httpx2.Client() as client:
            for _ in range(20):
                assert client.get(f"{url}/score").status_code == 200
        assert host.runtimes() == before
        host.server = FakeServer(host.server.port)

    def test_deleted_home_leaves_no_process_behind(self, host: Host) -> None:
        agent = host.start_agent()
        host.serve(host.deployment("a"))
        shutil.rmtree(host.folder)
        wait_for(lambda: not host.processes())
        assert agent.wait() == 0

    def test_half_made_replica_is_cleared_away(self, host: Host) -> None:
        half = host.home.replicas / "digits-00000000-0"
        half.mkdir()
        (half / "spec.json").write_text("{")
        host.start_agent()
        host.serve(host.deployment("a"), replicas=1)
        assert not half.exists()

    def test_lost_gateway_document_is_written_again(self, host: Host) -> None:
        host.start_agent()
        service = host.serve(host.deployment("a"))
        host.kill_agent()
        config: Path = host.home.gateway / "config.json"
        config.write_text("{")
        host.start_agent()
        host.server.observed.clear()
        host.reached(service)
        assert host.score().status_code == 200
