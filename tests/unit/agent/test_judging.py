from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from tests.unit.agent.making import (
    an_id,
    make_cause,
    make_deployment,
    make_desired,
    make_replica,
    make_service,
)

from modelyard.agent.drivers.base import Replica
from modelyard.agent.gateway.config import DeploymentRoute, GatewayConfig, ServiceRoute
from modelyard.agent.gateway.counters import Figures
from modelyard.agent.judging import ENOUGH, LONGEST_BESIDE, QUIET, STANDBY, Judge, Ruling, Stage
from modelyard.domain.cause import CauseCode
from modelyard.domain.desired import DesiredService
from modelyard.domain.service import ReplicaState

OLD, NEW = an_id("a"), an_id("b")
ROLLING = make_service(make_deployment("a", 0), make_deployment("b"), replicas=1, generation=2)
CANARY = make_service(
    make_deployment("a", 90), make_deployment("b", 10), replicas=1, candidate=NEW, generation=2
)


def config(weights: dict[UUID, int]) -> GatewayConfig:
    route = ServiceRoute(
        name="digits",
        auth="none",
        keys=(),
        scoring_timeout=1.0,
        max_concurrent_requests=1,
        max_queue_wait=1.0,
        upstreams=(),
        deployments=tuple(DeploymentRoute(str(id_), "x", w) for id_, w in weights.items()),
    )
    return GatewayConfig(1, (route,))


class Bench:
    """A judge, the requests that it is told of, and a gateway that does as it is told."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "judged.json"
        self.judge = Judge(self.path, lambda: self.figures)
        self.figures: dict[tuple[str, str], Figures] = {}
        self.weights = {OLD: 100}
        self.new: Replica = make_replica(0, "b", ReplicaState.STARTING)
        self.now = 100.0
        self.service: DesiredService | None = None

    def answered(self, deployment: UUID, good: int = 0, failed: int = 0) -> None:
        statuses = [0] * 500
        statuses[100], statuses[400] = good, failed
        durations = (0,) * 5 + (good + failed,) + (0,) * 14
        label = ("digits", str(deployment))
        more = Figures(tuple(statuses), durations)
        self.figures[label] = self.figures.get(label, Figures()) + more

    def look(self, service: DesiredService = ROLLING, after: float = 0.1) -> Ruling | None:
        self.now += after
        replicas = [make_replica(0, "a"), self.new]
        desired, rulings = self.judge.steer(
            make_desired(service), replicas, config(self.weights), self.now
        )
        [self.service] = desired.services
        return rulings.get(an_id("digits"))

    def stage(self, service: DesiredService = ROLLING, after: float = 0.1) -> Stage | None:
        ruling = self.look(service, after)
        return ruling.stage if ruling is not None else None

    def steered(self) -> dict[UUID, int]:
        assert self.service is not None
        return {d.id: d.weight for d in self.service.deployments}

    def come(self) -> None:
        """The new replica is ready, after the old ones have been asked."""
        self.answered(OLD, 300)
        assert self.stage() is Stage.COMING
        self.answered(OLD, 10)
        assert self.stage() is Stage.COMING
        self.new = make_replica(0, "b")
        assert self.stage() is Stage.BESIDE
        self.weights = {OLD: 100, NEW: 100}
        assert self.stage() is Stage.BESIDE


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_both_serve_side_by_side_then_the_new_one_alone_and_at_last_the_old_one_goes(
    bench: Bench,
) -> None:
    bench.come()
    assert bench.steered() == {OLD: 100, NEW: 100}
    bench.answered(OLD, ENOUGH + 20)
    bench.answered(NEW, ENOUGH + 20)
    assert bench.stage() is Stage.STANDBY
    assert bench.service is not None
    assert (bench.steered(), bench.service.standby) == ({OLD: 0, NEW: 100}, OLD)
    bench.weights = {OLD: 0, NEW: 100}
    assert bench.stage(after=STANDBY - 1) is Stage.STANDBY
    assert bench.stage(after=1) is Stage.DONE
    assert bench.service.standby is None
    bench.weights = {NEW: 100}
    assert bench.stage() is None


def test_nobody_waits_for_requests_that_do_not_come(bench: Bench) -> None:
    bench.come()
    assert bench.stage() is Stage.BESIDE
    assert bench.stage(after=QUIET + 0.1) is Stage.STANDBY


def test_a_few_requests_do_not_hold_the_new_one_up_for_long(bench: Bench) -> None:
    bench.come()
    for _ in range(int(LONGEST_BESIDE)):
        assert bench.stage() is Stage.BESIDE
        bench.answered(OLD, 1)
        bench.now += 0.8
    assert bench.stage(after=LONGEST_BESIDE) is Stage.STANDBY


def test_what_was_hardly_asked_is_no_measure(bench: Bench) -> None:
    bench.answered(OLD, 9)
    bench.new = make_replica(0, "b")
    assert bench.stage() is Stage.DONE
    assert bench.steered() == {OLD: 0, NEW: 100}


def test_what_was_not_asked_lately_stays_ready_all_the_same(bench: Bench) -> None:
    bench.answered(OLD, 300)
    bench.new = make_replica(0, "b")
    assert bench.stage() is Stage.STANDBY


@pytest.mark.parametrize("beside", [True, False])
def test_the_worse_one_is_taken_out_and_stays_out(bench: Bench, beside: bool) -> None:
    bench.come()
    if not beside:
        bench.stage(after=QUIET + 0.1)
        bench.weights = {OLD: 0, NEW: 100}
    bench.new = replace(bench.new, last_failure=make_cause(evidence=("KeyError: 'x'",)))
    bench.answered(NEW, failed=12)
    ruling = bench.look()
    assert ruling is not None
    assert ruling.cause is not None
    assert ruling.stage is Stage.WORSE
    assert bench.steered() == {OLD: 100, NEW: 0}
    assert ruling.cause.code is CauseCode.CANDIDATE_WORSE
    assert (
        ruling.cause.message
        == "`b:1` is worse than `a:1`: 12 of 12 requests failed against 0 of 310."
    )
    assert "KeyError: 'x'" in ruling.cause.evidence
    again = Bench(bench.path.parent)  # a new agent, and the server is away
    assert (again.stage(), again.steered()) == (Stage.WORSE, {OLD: 100, NEW: 0})
    gone_back = make_service(make_deployment("a"), replicas=1, generation=3)
    assert again.stage(gone_back) is None
    assert Bench(bench.path.parent).stage() is Stage.COMING  # and what was known is forgotten


def test_one_without_a_ready_replica_is_taken_out(bench: Bench) -> None:
    bench.come()
    cause = make_cause(CauseCode.OUT_OF_MEMORY)
    bench.new = replace(bench.new, state=ReplicaState.FAILED, cause=cause)
    ruling = bench.look()
    assert ruling is not None
    assert ruling.cause is not None
    told = "`b:1` is worse than `a:1`: none of its replicas is ready any more: "
    assert ruling.cause.message == told + cause.message


def test_a_service_that_may_sleep_has_no_replica_and_is_not_worse(bench: Bench) -> None:
    bench.come()
    bench.new = make_replica(0, "b", ReplicaState.STARTING)
    assert bench.stage(ROLLING.model_copy(update={"replicas": 0})) is Stage.BESIDE


def test_an_unjudged_service_is_left_alone(bench: Bench) -> None:
    bench.answered(OLD, 300)
    bench.answered(NEW, failed=300)
    bench.weights = {OLD: 100, NEW: 100}
    assert bench.stage(ROLLING.model_copy(update={"judged": False})) is None


def test_a_canary_is_judged_all_along_and_keeps_its_share(bench: Bench) -> None:
    bench.answered(OLD, 300)
    assert bench.stage(CANARY) is Stage.COMING
    bench.weights, bench.new = {OLD: 90, NEW: 10}, make_replica(0, "b")
    assert bench.stage(CANARY) is Stage.BESIDE
    assert bench.stage(CANARY, after=3600) is Stage.BESIDE
    assert bench.steered() == {OLD: 90, NEW: 10}
    bench.answered(NEW, failed=5)
    assert bench.stage(CANARY) is Stage.WORSE
    assert bench.steered() == {OLD: 100, NEW: 0}
    assert bench.service is not None
    assert bench.service.candidate is None


def test_a_promoted_canary_has_all_requests_at_once(bench: Bench) -> None:
    bench.answered(OLD, 300)
    bench.weights, bench.new = {OLD: 90, NEW: 10}, make_replica(0, "b")
    assert bench.stage(CANARY) is Stage.BESIDE
    assert bench.stage(ROLLING) is Stage.STANDBY
    assert bench.steered() == {OLD: 0, NEW: 100}


def test_a_new_agent_goes_on_where_the_gateway_stands(tmp_path: Path) -> None:
    for weights, stage in (
        ({OLD: 100}, Stage.COMING),
        ({OLD: 100, NEW: 100}, Stage.BESIDE),
        ({OLD: 0, NEW: 100}, Stage.STANDBY),
        ({NEW: 100}, None),
    ):
        bench = Bench(tmp_path)
        bench.weights = weights
        if NEW in weights:
            bench.new = make_replica(0, "b")
        assert bench.stage() is stage


def test_shares_that_are_to_last_are_not_judged(bench: Bench) -> None:
    split = make_service(make_deployment("a", 50), make_deployment("b", 50))
    assert bench.stage(split) is None
