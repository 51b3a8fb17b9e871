"""The plan against a simulated host where everything may go wrong at any time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.unit.agent.making import an_id, make_deployment, make_desired, make_replica, make_service

from modelyard.agent.drivers.base import Identity, Replica
from modelyard.agent.gateway.config import GatewayConfig
from modelyard.agent.plan import (
    ConfigureGateway,
    EnsureImage,
    RemoveReplica,
    ReviveReplica,
    StartReplica,
    Step,
    StopReplica,
    plan,
)
from modelyard.agent.report import report
from modelyard.agent.world import GatewayView, World
from modelyard.domain.desired import DesiredState
from modelyard.domain.service import ReplicaState

NAMES = st.sampled_from(["a", "b", "c"])
ENOUGH = 50  # turns in which a host that nothing disturbs has to settle


class Simulation:
    """A host: replicas, a gateway that may lag behind, images."""

    def __init__(self) -> None:
        self.replicas: dict[str, Replica] = {}
        self.config = GatewayConfig(0)
        self.applied: int | None = 0
        self.served = GatewayConfig(0)
        """What the gateway routes by now."""
        self.images: set[object] = set()
        self.broken: set[object] = set()
        """Deployments that cannot get ready."""

    def world(self) -> World:
        return World(
            replicas=tuple(self.replicas[key] for key in sorted(self.replicas)),
            gateway=GatewayView(self.config, self.applied),
            images=frozenset(self.images),
        )

    def carry_out(self, step: Step) -> None:
        match step:
            case EnsureImage():
                self.images.add(step.deployment.id)
            case StartReplica():
                self._start(step)
            case ReviveReplica():
                self._set(step.replica, alive=True, state=ReplicaState.STARTING)
            case StopReplica():
                assert not self.may_be_routed(step.replica), "a replica in use was stopped"
                self._set(step.replica, state=ReplicaState.DRAINING)
            case RemoveReplica():
                assert not self.replicas[step.replica].alive, "a living replica was removed"
                del self.replicas[step.replica]
            case ConfigureGateway():
                assert step.config.version > self.config.version
                self.config = step.config

    def _start(self, step: StartReplica) -> None:
        known = self.replicas.get(step.replica)
        assert known is None or not known.alive, "a living replica was started again"
        assert step.deployment.id in self.images
        identity = Identity(
            step.replica,
            step.service.id,
            step.service.name,
            step.deployment.id,
            step.deployment.image,
        )
        state = ReplicaState.STARTING
        self.replicas[step.replica] = replace(make_replica(state=state), identity=identity)

    def _set(self, replica: str, **changes: object) -> None:
        self.replicas[replica] = replace(self.replicas[replica], **changes)

    def may_be_routed(self, replica: str) -> bool:
        return any(
            upstream.replica == replica
            for config in (self.config, self.served)
            for route in config.services
            for upstream in route.upstreams
        )

    def get_ready(self, replica: str) -> None:
        found = self.replicas[replica]
        if found.alive and found.state is not ReplicaState.DRAINING:
            broken = found.identity.deployment in self.broken
            self._set(replica, state=ReplicaState.FAILED if broken else ReplicaState.READY)

    def fall_back(self, replica: str) -> None:
        if self.replicas[replica].ready:
            self._set(replica, state=ReplicaState.STARTING)

    def end(self, replica: str) -> None:
        self._set(replica, alive=False, state=ReplicaState.FAILED)

    def obey(self) -> None:
        if self.applied is not None:
            self.served, self.applied = self.config, self.config.version

    def routed(self) -> list[Replica]:
        """Living replicas that the gateway sends requests to."""
        ids = [u.replica for route in self.served.services for u in route.upstreams]
        return [self.replicas[i] for i in ids if i in self.replicas and self.replicas[i].ready]

    def run(self, desired: DesiredState) -> None:
        """Let everything take its course undisturbed until nothing happens any more."""
        for _ in range(ENOUGH):
            before = self._everything()
            for step in plan(desired, self.world(), 0.0):
                self.carry_out(step)
            for replica in list(self.replicas):
                draining = self.replicas[replica].draining
                (self.end if draining else self.get_ready)(replica)
            self.obey()
            if before == self._everything():
                return
        raise AssertionError("the host does not settle")

    def _everything(self) -> tuple[object, ...]:
        return dict(self.replicas), self.config, self.applied, set(self.images)


class DisturbedHost(RuleBasedStateMachine):
    """Any order of events; at the end the host must still get where it should."""

    def __init__(self) -> None:
        super().__init__()
        self.host = Simulation()
        self.desired = make_desired()

    @rule(name=NAMES, former=NAMES, replicas=st.integers(1, 3), keep_former=st.booleans())
    def deploy(self, name: str, former: str, replicas: int, keep_former: bool) -> None:
        deployments = [make_deployment(name)]
        if keep_former and former != name:
            deployments.insert(0, make_deployment(former, weight=0))
        self.desired = make_desired(make_service(*deployments, replicas=replicas))

    @rule(
        names=st.lists(NAMES, min_size=2, max_size=3, unique=True),
        weight=st.integers(1, 98),
        replicas=st.integers(1, 4),
        kind=st.sampled_from(["split", "canary", "shadow"]),
    )
    def share(self, names: list[str], weight: int, replicas: int, kind: str) -> None:
        """Several at weights, the last of them a candidate or not, or the first on its way out."""
        given = [100, 0] if kind == "shadow" else [100 - weight, weight]
        weights = given if len(names) == 2 else [0, *given]
        deployments = [make_deployment(*each) for each in zip(names, weights, strict=True)]
        service = make_service(
            *deployments,
            replicas=replicas,
            candidate=an_id(names[-1]) if kind != "split" else None,
            shadow=weight if kind == "shadow" else 0,
        )
        self.desired = make_desired(service)

    @rule()
    def delete(self) -> None:
        self.desired = make_desired()

    @rule(killed_after=st.integers(0, 6))
    def turn(self, killed_after: int) -> None:
        """One turn of the agent, which may be killed between any two steps."""
        for step in plan(self.desired, self.host.world(), 0.0)[:killed_after]:
            self.host.carry_out(step)

    @rule()
    def settle(self) -> None:
        """A quiet time, from which further events reach deeper."""
        self.gateway_returns()
        self.host.run(self.desired)

    @rule()
    def obey(self) -> None:
        self.host.obey()

    @rule()
    def gateway_dies(self) -> None:
        self.host.applied, self.host.served = None, GatewayConfig(0)

    @rule()
    def gateway_returns(self) -> None:
        self.host.applied = self.host.applied or 0
        self.host.obey()

    @precondition(lambda self: self.host.replicas)
    @rule(data=st.data(), event=st.sampled_from(["get_ready", "fall_back", "end"]))
    def replica_event(self, data: st.DataObject, event: str) -> None:
        replica = data.draw(st.sampled_from(sorted(self.host.replicas)))
        happen: Callable[[str], None] = getattr(self.host, event)
        happen(replica)

    @invariant()
    def can_be_reported(self) -> None:
        report(self.desired, self.host.world(), {})

    def teardown(self) -> None:
        self.host.applied = self.host.applied or 0
        self.host.run(self.desired)
        check_arrived(self.host, self.desired)


def check_arrived(host: Simulation, desired: DesiredState) -> None:
    assert plan(desired, host.world(), 0.0) == ()
    wanted = [
        (service.id, deployment.id, service.replicas_of(deployment))
        for service in desired.services
        for deployment in service.wanted
    ]
    assert {
        deployment.id: deployment.weight
        for route in host.served.services
        for deployment in route.deployments
    } == {str(d.id): d.weight for service in desired.services for d in service.wanted}
    routed = [replica.identity for replica in host.routed()]
    assert len(host.replicas) == len(routed) == sum(number for *_, number in wanted)
    assert {(i.service, i.deployment) for i in routed} == {(s, d) for s, d, _ in wanted}
    observed = report(desired, host.world(), {})
    assert [service.generation for service in observed] == [s.generation for s in desired.services]
    assert all(d.ready for service in observed for d in service.deployments)


TestDisturbedHost = DisturbedHost.TestCase
TestDisturbedHost.settings = settings(max_examples=120, stateful_step_count=30, deadline=None)


@given(st.lists(st.tuples(NAMES, st.integers(1, 3)), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_updates_never_leave_a_service_without_a_ready_replica(
    updates: list[tuple[str, int]],
) -> None:
    host = Simulation()
    for name, replicas in updates:
        desired = make_desired(make_service(make_deployment(name), replicas=replicas))
        served_before = bool(host.routed())
        for _ in range(ENOUGH):
            for step in plan(desired, host.world(), 0.0):
                host.carry_out(step)
                assert host.routed() or not served_before
            for replica in list(host.replicas):
                (host.end if host.replicas[replica].draining else host.get_ready)(replica)
            host.obey()
            assert host.routed() or not served_before
        check_arrived(host, desired)


@given(st.integers(1, 3), st.integers(1, 3))
@settings(max_examples=9, deadline=None)
def test_broken_update_never_touches_what_serves(before: int, after: int) -> None:
    host = Simulation()
    host.run(make_desired(make_service(make_deployment("a"), replicas=before)))
    serving = [replica.id for replica in host.routed()]
    host.broken.add(an_id("b"))
    desired = make_desired(make_service(make_deployment("b"), replicas=after, generation=2))
    host.run(desired)
    assert [replica.id for replica in host.routed()] == serving
    [service] = report(desired, host.world(), {an_id("digits"): 1})
    assert service.generation == 1
    assert not any(deployment.ready for deployment in service.deployments)


@given(
    st.lists(st.integers(1, 100), min_size=1, max_size=4),
    st.integers(1, 4),
    st.sampled_from(["promote", "take back"]),
)
@settings(max_examples=40, deadline=None)
def test_a_rollout_never_has_less_than_what_was_asked_for(
    steps: list[int], replicas: int, end: str
) -> None:
    host = Simulation()
    host.run(make_desired(make_service(make_deployment("a"), replicas=replicas)))
    rollout = [
        make_service(
            make_deployment("a", 100 - share),
            make_deployment("b", share),
            replicas=replicas,
            candidate=an_id("b"),
        )
        for share in sorted(steps)
        if share < 100
    ]
    last = [make_deployment("a", 0), make_deployment("b")]
    if end == "take back":
        last = [make_deployment("a")]
    for service in (*rollout, make_service(*last, replicas=replicas)):
        desired = make_desired(service)
        for _ in range(ENOUGH):
            for step in plan(desired, host.world(), 0.0):
                host.carry_out(step)
                assert len(host.routed()) >= replicas
            for replica in list(host.replicas):
                (host.end if host.replicas[replica].draining else host.get_ready)(replica)
            host.obey()
            assert len(host.routed()) >= replicas
        check_arrived(host, desired)
