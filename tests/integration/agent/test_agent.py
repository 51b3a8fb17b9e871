"""A real agent with its supervisors and gateway, a pretended server and a pretended runtime."""

from __future__ import annotations

import re
import signal
import subprocess
import sys

import httpx2
from tests.integration.agent.fake_server import wait_for
from tests.integration.agent.host import Host, scoring
from tests.integration.agent.images import make_image
from tests.unit.agent.making import make_deployment, make_desired, make_manifest, make_service

from modelyard.agent.home import is_locked
from modelyard.agent.shutdown import stop_everything
from modelyard.domain.cause import CauseCode
from modelyard.domain.image import Platform
from modelyard.domain.service import Authentication, ReplicaState


def test_deployed_service_answers_through_the_gateway(host: Host) -> None:
    host.start_agent()
    host.serve(host.deployment("a"))
    answer = host.score()
    assert (answer.status_code, answer.json()["deployment"]) == (200, "a")


def test_update_fails_no_request_and_removes_the_former(host: Host) -> None:
    host.start_agent()
    old, new = host.deployment("a"), host.deployment("b", mark="2")
    host.serve(old)
    with scoring(host) as answers:
        wait_for(lambda: answers["a"])
        host.serve(old.model_copy(update={"weight": 0}), new, generation=2)
        wait_for(lambda: answers["b"])
    assert set(answers) == {"a", "b"}
    host.serve(new, generation=3)  # it has been judged for long enough
    wait_for(lambda: {r.identity.deployment for r in host.replicas() if r.alive} == {new.id})
    wait_for(lambda: len(host.replicas()) == 2)


def test_deployment_that_cannot_start_leaves_the_former_in_place(host: Host) -> None:
    host.start_agent()
    old, new = host.deployment("a"), host.deployment("b", MISBEHAVE="raise")
    host.serve(old)
    before = host.runtimes()
    host.want(make_service(old.model_copy(update={"weight": 0}), new, generation=2))
    seen = wait_for(lambda: (d := host.observed_deployment(new)) and d.failed and d)
    assert seen.failed.code is CauseCode.INIT_RAISED
    assert not seen.ready
    assert host.observed().generation == 1
    assert host.score().json()["deployment"] == "a"
    host.serve(old, generation=3)
    wait_for(lambda: len(host.replicas()) == 2)
    assert host.runtimes() == before


def test_scaling_restarts_nothing(host: Host) -> None:
    host.start_agent()
    deployment = host.deployment("a")
    host.serve(deployment, replicas=2)
    two = host.runtimes()
    host.serve(deployment, replicas=3, generation=2)
    three = host.runtimes()
    assert (len(three), three | two) == (3, three)
    host.serve(deployment, replicas=1, generation=3)
    one = wait_for(lambda: len(found := host.runtimes()) == 1 and found)
    assert one.items() <= two.items()


def test_removed_service_leaves_nothing(host: Host) -> None:
    host.start_agent()
    host.serve(host.deployment("a"), replicas=1)
    host.want()
    wait_for(
        lambda: host.server.observed[-1].generation == 2 and not host.server.observed[-1].services
    )
    assert not any(replica.alive for replica in host.replicas())
    wait_for(lambda: host.score().status_code in (401, 404))


def test_key_change_reaches_the_gateway_without_restarts(host: Host) -> None:
    host.start_agent()
    deployment = host.deployment("a")
    host.serve(deployment, replicas=1)
    before = host.runtimes()
    host.serve(deployment, replicas=1, generation=2, auth=Authentication.KEY)
    assert host.score().status_code == 401
    assert host.runtimes() == before
    notice = wait_for(lambda: (seen := host.observed()) and seen.notice)
    assert notice.code is CauseCode.KEY_REFUSED


def test_logs_come_home_once_and_in_order(host: Host) -> None:
    host.server.lose_log_answers = 2
    host.start_agent()
    host.serve(host.deployment("a"), replicas=1)
    [replica] = host.replicas()
    host.ask(replica, "/print?5000")
    text = wait_for(lambda: "line 4999\n" in (t := host.server.log_text(replica.id)) and t)
    assert re.findall(r" line (\d+)\n", text) == [str(n) for n in range(5000)]
    assert "starting digits" in text


def test_log_of_a_removed_replica_comes_home_whole(host: Host) -> None:
    host.start_agent()
    host.serve(host.deployment("a"), replicas=1)
    [replica] = host.replicas()
    host.want()
    wait_for(lambda: not host.replicas())
    assert host.server.log_text(replica.id).endswith("[supervisor] ended as told\n")


def test_agent_without_a_server_starts_what_was_wanted_last(host: Host) -> None:
    agent = host.start_agent()
    host.serve(host.deployment("a"))
    agent.send_signal(signal.SIGTERM)
    agent.wait()
    stop_everything(host.folder, drain=1)  # as a reboot would, but for the time it takes
    url, host.server.cut_blobs_at = host.url, 0
    host.server.observed.clear()
    host.server.close()
    host.start_agent()
    answer = wait_for(lambda: _ok(f"{url}/score"))
    assert answer.json()["deployment"] == "a"


def _ok(url: str) -> httpx2.Response | None:
    try:
        answer = httpx2.get(url)
    except httpx2.TransportError:
        return None
    return answer if answer.status_code == 200 else None


def test_document_of_a_former_server_is_ignored(host: Host) -> None:
    host.start_agent()
    service = make_service(host.deployment("a"), replicas=1)
    host.server.want(make_desired(service, fence=2, generation=5))
    wait_for(lambda: host.score().status_code == 200)
    host.server.want(make_desired(fence=1, generation=9))
    count = len(host.server.observed)
    wait_for(lambda: len(host.server.observed) > count + 1)
    assert (host.server.observed[-1].fence, host.server.observed[-1].generation) == (2, 5)
    assert host.score().status_code == 200


def test_second_agent_is_refused(host: Host) -> None:
    host.start_agent()
    second = subprocess.run(
        [sys.executable, "-m", "modelyard.agent", *host.arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.returncode == 1
    assert "already runs" in second.stderr


def test_ended_agent_leaves_replicas_and_gateway_serving(host: Host) -> None:
    agent = host.start_agent()
    host.serve(host.deployment("a"))
    before = host.runtimes()
    agent.send_signal(signal.SIGTERM)
    assert agent.wait() == 0
    assert host.score().status_code == 200
    host.start_agent()
    host.server.observed.clear()
    host.reached(make_service())
    assert host.runtimes() == before


def test_stop_everything_ends_everything(host: Host) -> None:
    host.start_agent()
    host.serve(host.deployment("a"))
    stop_everything(host.folder, drain=1)
    assert not is_locked(host.home.lock)
    assert not any(replica.alive for replica in host.replicas())
    assert not is_locked(host.home.gateway / "lock")
    stop_everything(host.folder, drain=1)


def test_image_for_another_platform_is_reported(host: Host) -> None:
    host.start_agent()
    manifest = make_manifest(platform=Platform(os="plan9", architecture="amd64"))
    deployment = make_deployment(manifest=manifest)
    host.want(make_service(deployment))
    failed = wait_for(lambda: (d := host.observed_deployment(deployment)) and d.failed)
    assert failed.code is CauseCode.WRONG_PLATFORM
    assert "plan9/amd64" in failed.message


def test_image_that_the_server_lost_is_reported(host: Host) -> None:
    host.start_agent()
    manifest, _ = make_image()
    deployment = make_deployment(manifest=manifest)
    host.want(make_service(deployment))
    failed = wait_for(lambda: (d := host.observed_deployment(deployment)) and d.failed)
    assert failed.code is CauseCode.IMAGE_UNAVAILABLE
    host.serve(host.deployment("a"))  # the blobs are there now


def test_broken_fetch_goes_on_where_it_stopped(host: Host) -> None:
    host.server.cut_blobs_at = 3000
    host.start_agent()
    host.serve(host.deployment("a"), replicas=1)
    assert "bytes=3000-" in host.server.ranges
    assert not list(host.home.fetched.iterdir())


def test_gateway_says_why_nothing_is_ready(host: Host) -> None:
    host.start_agent()
    host.want(make_service(host.deployment("a", MISBEHAVE="raise"), replicas=1))
    answer = wait_for(lambda: (a := host.score()).status_code == 503 and "raised" in a.text and a)
    assert "`init()` raised ValueError: no" in answer.text


def test_replica_states_are_reported(host: Host) -> None:
    host.start_agent()
    deployment = host.deployment("a", START_TAKES="1")
    host.want(make_service(deployment, replicas=1))
    wait_for(lambda: _states(host, deployment) == [ReplicaState.STARTING])
    wait_for(lambda: _states(host, deployment) == [ReplicaState.READY])
    memory = wait_for(lambda: host.observed_deployment(deployment).replicas[0].memory)
    assert memory > 1 << 20


def _states(host: Host, deployment: object) -> list[ReplicaState]:
    seen = host.observed_deployment(deployment)
    return [replica.state for replica in seen.replicas] if seen else []
