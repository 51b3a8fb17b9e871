from __future__ import annotations

import errno
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar
from uuid import UUID

import pytest
from tests.unit.agent.making import (
    an_id,
    make_cause,
    make_deployment,
    make_replica,
    make_service,
)

from modelyard.agent.drivers.base import DriverCapability, Replica, ReplicaSpec
from modelyard.agent.engine.problems import EngineForbidden
from modelyard.agent.executor import Executor
from modelyard.agent.gateway.config import GatewayConfig
from modelyard.agent.plan import (
    ConfigureGateway,
    EnsureImage,
    RemoveReplica,
    ReviveReplica,
    StartReplica,
    StopReplica,
)
from modelyard.domain.cause import CauseCode
from modelyard.domain.desired import DesiredDeployment
from modelyard.domain.image import LayerKind
from modelyard.domain.service import ReplicaState


class FakeDriver:
    capabilities: ClassVar[frozenset[DriverCapability]] = frozenset()

    def __init__(self) -> None:
        self.done: list[tuple[str, str]] = []
        self.specs: list[ReplicaSpec] = []
        self.error: OSError | EngineForbidden | None = None

    def observe(self) -> tuple[Replica, ...]:
        return ()

    def start(self, spec: ReplicaSpec) -> None:
        if self.error is not None:
            raise self.error
        self.specs.append(spec)

    def revive(self, replica: str) -> None:
        self.done.append(("revive", replica))

    def stop(self, replica: str, drain: float | None = None) -> None:
        self.done.append(("stop", replica))

    def remove(self, replica: str) -> None:
        self.done.append(("remove", replica))

    def log(self, replica: str) -> Path:
        return Path(replica)


class FakeImages:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ensured: list[UUID] = []
        self.rechecked: list[UUID] = []

    def ensure(self, deployment: DesiredDeployment) -> None:
        self.ensured.append(deployment.id)

    def layers(self, deployment: DesiredDeployment) -> Mapping[LayerKind, Path]:
        return {LayerKind.MODEL: self.folder}

    def recheck(self, deployment: UUID) -> None:
        self.rechecked.append(deployment)


class FakeGatekeeper:
    config: GatewayConfig | None = None

    def configure(self, config: GatewayConfig) -> None:
        self.config = config


class Bench:
    def __init__(self, folder: Path) -> None:
        self.driver, self.images = FakeDriver(), FakeImages(folder)
        self.gatekeeper = FakeGatekeeper()
        self.sent: set[str] = set()
        self.left: list[str] = []
        self.executor = Executor(
            self.driver,
            self.images,  # type: ignore[arg-type]
            self.gatekeeper,  # type: ignore[arg-type]
            lambda replica: replica in self.sent,
            self.left.append,
        )


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


START = StartReplica(make_service(), make_deployment(), "digits-0")


def test_simple_steps_reach_who_does_them(bench: Bench) -> None:
    config = GatewayConfig(5)
    for step in (
        EnsureImage(make_deployment()),
        ReviveReplica("r"),
        StopReplica("s"),
        ConfigureGateway(config),
    ):
        bench.executor.carry_out(step, 0.0)
    assert bench.images.ensured == [an_id("a")]
    assert bench.driver.done == [("revive", "r"), ("stop", "s")]
    assert bench.gatekeeper.config == config


def test_replica_is_started_with_its_identity_and_layers(bench: Bench, tmp_path: Path) -> None:
    deployment = make_deployment(sample=[[1.5]])
    bench.executor.carry_out(StartReplica(make_service(), deployment, "digits-0"), 0.0)
    [spec] = bench.driver.specs
    assert spec.sample == [[1.5]]
    assert spec.identity.replica == "digits-0"
    assert (spec.identity.service, spec.identity.deployment) == (an_id("digits"), an_id("a"))
    assert spec.layers == {LayerKind.MODEL: tmp_path}


def test_lost_layer_is_looked_for_again(bench: Bench, tmp_path: Path) -> None:
    bench.images.folder = tmp_path / "gone"
    bench.executor.carry_out(START, 0.0)
    assert bench.images.rechecked == [an_id("a")]
    assert bench.driver.specs == []


def test_starts_that_do_not_last_are_spaced(bench: Bench) -> None:
    bench.executor.carry_out(START, 10.0)
    assert bench.executor.not_before() == {"digits-0": 10.5}
    bench.executor.carry_out(START, 20.0)
    assert bench.executor.not_before() == {"digits-0": 21.0}


def test_replica_that_got_ready_may_be_started_again_at_once(bench: Bench) -> None:
    replica = make_replica()
    bench.executor.carry_out(StartReplica(make_service(), make_deployment(), replica.id), 10.0)
    bench.executor.notice([replica])
    assert bench.executor.not_before() == {}


def test_image_that_an_engine_lost_is_looked_for_once_a_failure(bench: Bench) -> None:
    def failed(times: int) -> Replica:
        lost = make_cause(CauseCode.IMAGE_UNAVAILABLE)
        return make_replica(state=ReplicaState.FAILED, cause=lost, failures=times)

    for replica in (failed(1), failed(1), failed(2)):
        bench.executor.notice([replica])
    bench.executor.notice([make_replica(state=ReplicaState.FAILED, cause=make_cause())])
    assert bench.images.rechecked == [an_id("a")] * 2


def test_start_that_the_engine_refuses_has_the_engines_cause(bench: Bench) -> None:
    bench.driver.error = EngineForbidden("not yours", hint="join the group")
    bench.executor.carry_out(START, 0.0)
    problem = bench.executor.problems[an_id("a")]
    assert problem.code is CauseCode.ENGINE_FORBIDDEN
    assert problem.fix == "join the group"


@pytest.mark.parametrize(
    ("number", "code"),
    [(errno.ENOSPC, CauseCode.STORAGE_FULL), (errno.EACCES, CauseCode.INTERNAL)],
)
def test_failed_start_is_a_problem_until_one_succeeds(
    bench: Bench, number: int, code: CauseCode
) -> None:
    bench.driver.error = OSError(number, "no")
    bench.executor.carry_out(START, 0.0)
    assert bench.executor.problems[an_id("a")].code is code
    bench.driver.error = None
    bench.executor.carry_out(START, 1.0)
    assert bench.executor.problems == {}


def test_ended_replica_goes_when_its_log_has_arrived(bench: Bench) -> None:
    bench.executor.carry_out(RemoveReplica("r"), 0.0)
    assert bench.driver.done == []
    bench.sent.add("r")
    bench.executor.carry_out(RemoveReplica("r"), 1.0)
    assert bench.driver.done == [("remove", "r")]


def test_ended_replica_does_not_wait_for_ever(bench: Bench) -> None:
    bench.executor.carry_out(RemoveReplica("r"), 0.0)
    bench.executor.carry_out(RemoveReplica("r"), 29.9)
    assert bench.driver.done == []
    bench.executor.carry_out(RemoveReplica("r"), 30.0)
    assert bench.driver.done == [("remove", "r")]
