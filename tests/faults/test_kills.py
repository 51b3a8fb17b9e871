"""`kill -9` of server, agent and replica while clients score in a loop; failures are counted."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.conftest import BREAKABLE, build_breakable
from tests.faults.running import CLIENTS, Load, a_runtime, agent_pid, server_pid, wait_for

import modelyard
from modelyard.domain.image import ImageState
from modelyard.domain.operation import OperationState


@pytest.fixture
def loaded(product: None, tmp_path: Path) -> Iterator[Load]:
    with modelyard.connect() as client:
        image = build_breakable(client, tmp_path, "steady")
        service = client.services.deploy("steady", image.reference, replicas=2)
        assert service.scoring_uri is not None
        load = Load(service.scoring_uri, client.services.keys("steady").primary)
    with load.running():
        load.more(50)
        yield load
    with modelyard.connect() as client:  # a test may have replaced the server
        client.services.delete("steady")


def test_killing_the_server_costs_nothing(loaded: Load) -> None:
    killed = server_pid()
    with modelyard.connect() as before:
        before.services.add_tags("steady", {"told": "before"})
    os.kill(killed, signal.SIGKILL)
    loaded.more(200)
    with modelyard.connect() as again:  # starts another server
        assert again.services.get("steady").tags == {"told": "before"}
    assert server_pid() != killed
    loaded.more(200)
    assert loaded.failures == []


def test_a_canary_goes_on_though_server_and_agent_are_killed(loaded: Load) -> None:
    with modelyard.connect() as client:
        client.services.update(
            "steady", canary=[20, 60], step_time="3s", environment={"MODE": "new"}
        )
        os.kill(server_pid(), signal.SIGKILL)
        os.kill(agent_pid(), signal.SIGKILL)
    loaded.more(100)
    with modelyard.connect() as client:  # starts another server, which starts another agent

        def is_promoted() -> bool:
            newest = client.services.history("steady")[0]
            return client.services.get("steady").rollout is None and newest.outcome == "Served"

        wait_for(is_promoted)
        newest = client.services.history("steady")[0]
        assert (newest.rollout, newest.outcome) == ("canary 20 %, 60 %, 3s each", "Served")
    loaded.more(100)
    assert loaded.failures == []


def test_a_build_that_was_accepted_is_finished_by_the_next_server(
    product: None, tmp_path: Path
) -> None:
    (tmp_path / "score.py").write_text(BREAKABLE)
    (tmp_path / "answer.txt").write_text("late")
    with modelyard.connect() as client:
        model = client.models.register("late", tmp_path / "answer.txt")
        accepted = client.images.build(
            "late", models=[model.reference], script=tmp_path / "score.py", wait=False
        )
        os.kill(server_pid(), signal.SIGKILL)
    with modelyard.connect() as client:
        operation = client.operations.wait(accepted.operation)
        image = client.images.get(accepted.reference)
        lines = [line.text for line in client.images.log(image.reference)]
    assert operation.state is OperationState.SUCCEEDED
    assert image.state is ImageState.SUCCEEDED
    assert any("restarted" in line for line in lines)


def test_killing_the_agent_costs_nothing(loaded: Load) -> None:
    with modelyard.connect() as client:
        before = {replica.id for replica in client.services.get("steady").status.replicas}
        killed = agent_pid()
        os.kill(killed, signal.SIGKILL)
        loaded.more(200)
        wait_for(lambda: agent_pid() != killed)
        scaled = client.services.scale("steady", 3)
    assert before <= {replica.id for replica in scaled.status.replicas}
    assert all(replica.restarts == 0 for replica in scaled.status.replicas)
    loaded.more(200)
    assert loaded.failures == []


def test_killing_a_replica_costs_only_what_it_was_doing(loaded: Load) -> None:
    with modelyard.connect() as client:
        os.kill(a_runtime(), signal.SIGKILL)
        loaded.more(400)
        wait_for(
            lambda: all(
                replica.state == "Ready"
                for replica in client.services.get("steady").status.replicas
            )
        )
    # Each client has one request in flight: what the replica was doing is lost, and no more.
    assert len(loaded.failures) <= CLIENTS
    assert all("replica_lost" in failure for failure in loaded.failures)
