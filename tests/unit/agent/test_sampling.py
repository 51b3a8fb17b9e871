from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.unit.agent.making import (
    an_id,
    make_cause,
    make_deployment,
    make_desired,
    make_replica,
    make_service,
)

from modelyard.agent import sampling
from modelyard.agent.drivers.base import Replica
from modelyard.agent.sampling import Lost, Sampler
from modelyard.domain.cause import Cause, CauseCode
from modelyard.domain.desired import DesiredDeployment
from modelyard.domain.service import ReplicaState

SAMPLED = make_deployment("b", sample={"data": [1]})
DESIRED = make_desired(make_service(make_deployment("a", 0), SAMPLED, generation=2))
OLD, NEW = make_replica(0, "a"), make_replica(0, "b")
BORN = datetime(2026, 11, 27, tzinfo=UTC)


class Bench:
    """A sampler whose replicas answer as the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.woken = threading.Event()
        self.outcome: Cause | Exception | None = None
        self.asked: list[str] = []
        self.sampler = Sampler(self.woken.set, lambda: self.now)
        monkeypatch.setattr(sampling, "score_sample", self._score)

    def _score(self, address: str, deployment: DesiredDeployment) -> Cause | None:
        self.asked.append(address)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def admit(self, *replicas: Replica, routed: set[str], reached: int = 1) -> list[bool]:
        """Which of the replicas are ready as the rest of the agent sees them."""
        seen = self.sampler.admit(replicas, DESIRED, routed, {an_id("digits"): reached})
        return [replica.ready for replica in seen]

    def wait(self) -> None:
        assert self.woken.wait(10)
        self.woken.clear()


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


def test_a_new_replica_is_ready_once_it_has_scored_the_sample(bench: Bench) -> None:
    assert bench.admit(OLD, NEW, routed={OLD.id}) == [True, False]
    bench.wait()
    assert bench.admit(OLD, NEW, routed={OLD.id}) == [True, True]
    assert bench.asked == [NEW.address]
    assert bench.sampler.problems() == {}


def test_one_that_fails_is_not_ready_and_says_why_until_it_passes(bench: Bench) -> None:
    bench.outcome = make_cause(CauseCode.SAMPLE_FAILED)
    bench.admit(OLD, NEW, routed={OLD.id})
    bench.wait()
    assert bench.admit(OLD, NEW, routed={OLD.id}) == [True, False]
    assert bench.sampler.problems() == {}  # the runtime is about to say why
    told = replace(NEW, last_failure=make_cause(evidence=("KeyError: 'x'",)))
    bench.admit(OLD, told, routed={OLD.id})
    [cause] = bench.sampler.problems().values()
    assert (cause.code, cause.evidence) == (CauseCode.SAMPLE_FAILED, ("KeyError: 'x'",))
    bench.outcome, bench.now = None, bench.now + 1
    bench.admit(OLD, NEW, routed={OLD.id})
    bench.wait()
    assert bench.admit(OLD, NEW, routed={OLD.id}) == [True, True]
    assert bench.sampler.problems() == {}


def test_one_that_ends_over_the_sample_gives_its_own_reason_the_first_time(bench: Bench) -> None:
    bench.outcome = Lost("closed")
    alive = replace(NEW, started_at=BORN)
    bench.admit(OLD, alive, routed={OLD.id})
    bench.wait()
    bench.admit(OLD, alive, routed={OLD.id})
    assert bench.sampler.problems() == {}  # its supervisor is about to say why
    ended = replace(
        alive,
        state=ReplicaState.FAILED,
        started_at=BORN + timedelta(seconds=1),
        failures=1,
        cause=make_cause(CauseCode.OUT_OF_MEMORY),
    )
    bench.admit(OLD, ended, routed={OLD.id})
    [cause] = bench.sampler.problems().values()
    assert cause.code is CauseCode.OUT_OF_MEMORY
    assert "sample" in cause.evidence[0]


def test_one_that_only_hangs_up_is_named_after_a_while(bench: Bench) -> None:
    bench.outcome = Lost("closed")
    bench.admit(OLD, NEW, routed={OLD.id})
    bench.wait()
    bench.now += 6
    bench.admit(OLD, NEW, routed={OLD.id})
    [cause] = bench.sampler.problems().values()
    assert (cause.code, "ended the connection" in cause.message) == (
        CauseCode.SAMPLE_FAILED,
        True,
    )


def test_one_whose_runtime_says_nothing_is_named_after_a_while(bench: Bench) -> None:
    bench.outcome = make_cause(CauseCode.SAMPLE_FAILED)
    bench.admit(OLD, NEW, routed={OLD.id})
    bench.wait()
    bench.now += 2
    bench.admit(OLD, NEW, routed={OLD.id})
    assert bench.sampler.problems() == {SAMPLED.id: bench.outcome}


def test_what_serves_already_is_not_taken_out(bench: Bench) -> None:
    assert bench.admit(NEW, routed={NEW.id}) == [True]
    assert bench.asked == []


def test_without_a_sample_there_is_nothing_to_score(bench: Bench) -> None:
    assert bench.admit(OLD, routed=set()) == [True]


def test_where_nothing_serves_a_deployment_that_has_scored_it_does_not_wait(bench: Bench) -> None:
    assert bench.admit(NEW, routed=set(), reached=2) == [True]
    assert bench.admit(NEW, routed=set(), reached=1) == [False]
    bench.wait()
    assert bench.admit(make_replica(1, "b"), routed=set(), reached=1) == [True]


def test_beside_others_each_life_scores_it_anew(bench: Bench) -> None:
    other = make_replica(1, "b")
    bench.admit(NEW, other, routed={other.id}, reached=2)
    bench.wait()
    assert bench.admit(NEW, other, routed={other.id}, reached=2) == [True, True]
    again = replace(NEW, started_at=BORN)
    assert bench.admit(again, other, routed={other.id}, reached=2) == [False, True]


def test_what_is_known_is_forgotten_with_the_deployment(bench: Bench) -> None:
    bench.outcome = make_cause(CauseCode.SAMPLE_FAILED)
    bench.admit(OLD, NEW, routed={OLD.id})
    bench.wait()
    bench.now += 2
    bench.admit(OLD, NEW, routed={OLD.id})
    assert bench.sampler.problems()
    bench.sampler.admit((OLD,), make_desired(make_service(make_deployment("a"))), set(), {})
    assert bench.sampler.problems() == {}
