"""What every target of this host does with a service, from its deploy to its end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.containers.podman import Podman
from tests.containers.server import a_server, containers
from tests.e2e.conftest import build_breakable
from tests.e2e.test_services import scores_until
from tests.integration.agent.fake_server import wait_for

import modelyard
from modelyard.domain.service import ReplicaStatus, Service, ServiceState
from modelyard.targets.agent import ContainerTarget, LocalTarget


@pytest.fixture(scope="module")
def yard(podman: Podman) -> Iterator[modelyard.Client]:
    with a_server(podman) as client:
        yield client
    assert containers(podman) == []


@pytest.fixture(scope="module")
def image(yard: modelyard.Client, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Reference of an image with a script that breaks as it is told."""
    return build_breakable(yard, tmp_path_factory.mktemp("breakable"), "forty-two").reference


class Place:
    """One target of the server."""

    def __init__(self, yard: modelyard.Client, target: str, image: str) -> None:
        self.services = yard.services
        self.yard = yard
        self.target = target
        self.image = image

    def deploy(self, **settings: Any) -> Service:
        return self.services.deploy("digits", self.image, target=self.target, **settings)

    def score(self) -> Any:
        return self.services.score("digits", {})["answer"]


@pytest.fixture(params=[LocalTarget.name, ContainerTarget.name])
def place(request: pytest.FixtureRequest, yard: modelyard.Client, image: str) -> Iterator[Place]:
    yield Place(yard, request.param, image)
    yard.services.delete("digits")
    with pytest.raises(modelyard.NotFound):
        yard.services.get("digits")


def replicas_of(place: Place) -> tuple[ReplicaStatus, ...]:
    return place.services.get("digits").status.replicas


def test_deployed_service_answers_and_shows_itself(place: Place) -> None:
    service = place.deploy(replicas=2)
    assert service.target == place.target
    assert service.status.state is ServiceState.HEALTHY
    assert place.score() == "forty-two"
    assert len(service.status.replicas) == 2
    wait_for(lambda: all(replica.memory > 1 << 20 for replica in replicas_of(place)))
    assert {replica.image for replica in replicas_of(place)} == {place.image}
    assert place.services.why("digits") is None


def test_logs_come_home(place: Place) -> None:
    service = place.deploy()
    wait_for(lambda: [line.text for line in place.services.logs("digits")])
    assert {line.source for line in place.services.logs("digits")} == {
        service.status.replicas[0].id
    }


def test_scaling_restarts_nothing(place: Place) -> None:
    before = place.deploy()
    after = place.services.scale("digits", 2)
    assert {r.id for r in before.status.replicas} < {r.id for r in after.status.replicas}
    assert all(replica.restarts == 0 for replica in after.status.replicas)
    assert len(place.services.scale("digits", 1).status.replicas) == 1


def test_update_fails_no_request(place: Place, tmp_path: Path) -> None:
    place.deploy()
    other = build_breakable(place.yard, tmp_path, "forty-three")
    stop = threading.Event()
    seen: list[tuple[list[object], list[Exception]]] = []
    thread = threading.Thread(target=lambda: seen.append(scores_until(stop, place.yard, "digits")))
    thread.start()
    try:
        place.services.update("digits", image=other.reference)
        assert place.score() == "forty-three"
    finally:
        stop.set()
        thread.join()
    [(answers, failures)] = seen
    assert failures == []
    assert set(answers) >= {"forty-two"}


def test_broken_update_leaves_what_served_before(place: Place) -> None:
    place.deploy()
    with pytest.raises(modelyard.DeployFailed) as failed:
        place.services.update("digits", environment={"BREAK": "raise"})
    assert failed.value.details["cause"]["code"] == "init_raised"
    assert place.score() == "forty-two"
    assert place.services.get("digits").settings.environment == {}


def test_memory_limit_is_real_and_named(place: Place) -> None:
    with pytest.raises(modelyard.DeployFailed) as failed:
        place.deploy(memory=128 << 20, environment={"BREAK": "memory"})
    cause = failed.value.details["cause"]
    assert cause["code"] == "out_of_memory"
    assert "128 MiB" in cause["message"]
    why = place.services.why("digits")
    assert why is not None
    assert why.code == "out_of_memory"
