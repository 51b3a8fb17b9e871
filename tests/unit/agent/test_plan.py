from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from tests.unit.agent.making import (
    an_id,
    make_cause,
    make_deployment,
    make_desired,
    make_replica,
    make_service,
    make_world,
    settled,
)

from modelyard.agent.drivers.base import Replica
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
from modelyard.agent.world import GatewayView, World
from modelyard.domain.cause import CauseCode
from modelyard.domain.desired import DesiredState
from modelyard.domain.service import Authentication, ReplicaState

STARTING, FAILED, DRAINING = ReplicaState.STARTING, ReplicaState.FAILED, ReplicaState.DRAINING


def serving(deployment: str, *replicas: Replica) -> World:
    """A world whose gateway serves these replicas of one deployment."""
    desired = make_desired(make_service(make_deployment(deployment)))
    return settled(desired, make_world(*replicas))


def kinds(steps: Sequence[Step]) -> list[type]:
    return [type(step) for step in steps]


def started(steps: Sequence[Step]) -> list[str]:
    return [step.replica for step in steps if isinstance(step, StartReplica)]


def stopped(steps: Sequence[Step]) -> list[str]:
    return [step.replica for step in steps if isinstance(step, StopReplica)]


def upstreams(steps: Sequence[Step]) -> list[str] | None:
    """Replicas in the configuration that the steps write; None when they write none."""
    for step in steps:
        if isinstance(step, ConfigureGateway):
            return [u.replica for route in step.config.services for u in route.upstreams]
    return None


def test_nothing_wanted_and_nothing_there_needs_nothing() -> None:
    assert plan(make_desired(), make_world(), 0.0) == ()


def test_new_service_gets_its_image_and_its_route_first() -> None:
    desired = make_desired(make_service())
    steps = plan(desired, make_world(images=frozenset()), 0.0)
    assert kinds(steps) == [ConfigureGateway, EnsureImage]
    assert upstreams(steps) == []


def test_new_service_with_its_image_gets_its_replicas() -> None:
    steps = plan(make_desired(make_service(replicas=3)), make_world(), 0.0)
    assert started(steps) == [make_replica(n).id for n in range(3)]


@pytest.mark.parametrize("state", [STARTING, FAILED])
def test_first_deployment_is_routed_as_its_replicas_get_ready(state: ReplicaState) -> None:
    ready, coming = make_replica(0), make_replica(1, state=state)
    steps = plan(make_desired(make_service()), make_world(ready, coming), 0.0)
    assert upstreams(steps) == [ready.id]
    assert started(steps) == stopped(steps) == []


def test_service_as_wanted_needs_nothing() -> None:
    desired = make_desired(make_service())
    world = settled(desired, make_world(make_replica(0), make_replica(1)))
    assert plan(desired, world, 0.0) == ()


def test_image_that_an_engine_lost_is_brought_again() -> None:
    desired = make_desired(make_service())
    lost = make_cause(CauseCode.IMAGE_UNAVAILABLE)
    world = make_world(make_replica(0), make_replica(1, state=FAILED, cause=lost))
    known = settled(desired, world)
    assert plan(desired, known, 0.0) == ()
    assert kinds(plan(desired, replace(known, images=frozenset()), 0.0)) == [EnsureImage]


class TestUpdate:
    desired = make_desired(make_service(make_deployment("a", weight=0), make_deployment("b")))
    old = (make_replica(0), make_replica(1))

    def test_new_replicas_start_beside_the_old(self) -> None:
        steps = plan(self.desired, serving("a", *self.old), 0.0)
        assert kinds(steps) == [StartReplica, StartReplica]

    def test_new_replicas_are_not_routed_before_all_are_ready(self) -> None:
        new = (make_replica(0, "b"), make_replica(1, "b", STARTING))
        world = replace(serving("a", *self.old), replicas=(*self.old, *new))
        assert plan(self.desired, world, 0.0) == ()

    def test_all_ready_replicas_take_over_in_one_swap(self) -> None:
        new = (make_replica(0, "b"), make_replica(1, "b"))
        world = replace(serving("a", *self.old), replicas=(*self.old, *new))
        steps = plan(self.desired, world, 0.0)
        assert kinds(steps) == [ConfigureGateway]
        assert upstreams(steps) == [replica.id for replica in new]

    def test_old_replicas_stay_until_the_gateway_obeys(self) -> None:
        new = (make_replica(0, "b"), make_replica(1, "b"))
        world = settled(self.desired, make_world(*new, *self.old))
        behind = replace(world, gateway=replace(world.gateway, applied=0))
        assert plan(self.desired, behind, 0.0) == ()
        assert stopped(plan(self.desired, world, 0.0)) == [replica.id for replica in self.old]

    def test_draining_replicas_are_left_alone_and_removed_at_their_end(self) -> None:
        new = (make_replica(0, "b"), make_replica(1, "b"))
        draining = make_replica(0, state=DRAINING)
        ended = make_replica(1, alive=False, state=FAILED)
        world = settled(self.desired, make_world(*new, draining, ended))
        assert plan(self.desired, world, 0.0) == (RemoveReplica(ended.id),)

    def test_failing_new_deployment_leaves_the_old_alone(self) -> None:
        broken = [make_replica(n, "b", FAILED, failures=9, cause=make_cause()) for n in range(2)]
        world = replace(serving("a", *self.old), replicas=(*self.old, *broken))
        assert plan(self.desired, world, 0.0) == ()

    def test_old_deployment_serves_although_it_is_wanted_no_more(self) -> None:
        desired = make_desired(make_service(make_deployment("b")))
        world = replace(serving("a", *self.old), replicas=self.old)
        assert kinds(plan(desired, world, 0.0)) == [StartReplica, StartReplica]

    def test_ended_replica_of_the_old_deployment_is_revived(self) -> None:
        new = make_replica(0, "b", STARTING), make_replica(1, "b", STARTING)
        ended = replace(self.old[1], alive=False, state=FAILED)
        world = replace(serving("a", *self.old), replicas=(self.old[0], ended, *new))
        steps = plan(self.desired, world, 0.0)
        assert kinds(steps) == [ConfigureGateway, ReviveReplica]
        assert upstreams(steps) == [self.old[0].id]

    def test_old_deployment_that_lost_all_replicas_is_not_given_up(self) -> None:
        new = make_replica(0, "b", STARTING), make_replica(1, "b")
        lost = [replace(replica, state=STARTING) for replica in self.old]
        world = settled(
            make_desired(make_service(make_deployment("a"))), make_world(*lost)
        )  # its route is empty by now
        steps = plan(self.desired, replace(world, replicas=(*lost, *new)), 0.0)
        assert stopped(steps) == []
        assert upstreams(steps) is None

    def test_deployment_that_never_served_is_stopped_for_a_third(self) -> None:
        desired = make_desired(make_service(make_deployment("c")))
        failed = make_replica(0, "b", FAILED, cause=make_cause())
        world = replace(serving("a", *self.old), replicas=(*self.old, failed))
        assert stopped(plan(desired, world, 0.0)) == [failed.id]

    def test_going_back_stops_the_new_ones_only(self) -> None:
        desired = make_desired(make_service(make_deployment("a")))
        new = make_replica(0, "b"), make_replica(1, "b", STARTING)
        world = replace(serving("a", *self.old), replicas=(*self.old, *new))
        steps = plan(desired, world, 0.0)
        assert kinds(steps) == [StopReplica, StopReplica]
        assert stopped(steps) == [replica.id for replica in new]

    def test_new_deployment_that_served_once_is_kept_when_it_loses_a_replica(self) -> None:
        new = (make_replica(0, "b"), make_replica(1, "b", STARTING))
        world = replace(serving("b", *new), replicas=(*self.old, *new))
        steps = plan(self.desired, world, 0.0)
        assert upstreams(steps) is None
        assert stopped(steps) == [replica.id for replica in self.old]


def shares(steps: Sequence[Step]) -> dict[str, int] | None:
    """The weights in the configuration that the steps write, by image; None: they write none."""
    for step in steps:
        if isinstance(step, ConfigureGateway):
            [route] = step.config.services
            weights = {d.id: (d.image, d.weight) for d in route.deployments}
            assert {u.deployment: u.weight for u in route.upstreams}.items() <= {
                d: weight for d, (_, weight) in weights.items()
            }.items()
            return dict(weights.values())
    return None


def a_rollout(old: int, new: int, replicas: int = 4) -> DesiredState:
    """The image `b:1` is tried beside `a:1`."""
    return make_desired(
        make_service(
            make_deployment("a", old),
            make_deployment("b", new),
            candidate=an_id("b"),
            replicas=replicas,
        )
    )


class TestCanary:
    old = tuple(make_replica(number) for number in range(4))
    new = tuple(make_replica(number, "b") for number in range(4))

    def test_candidate_gets_replicas_for_its_share_beside_all_that_serve(self) -> None:
        steps = plan(a_rollout(70, 30), serving("a", *self.old), 0.0)
        assert started(steps) == [make_replica(number, "b").id for number in range(2)]
        assert stopped(steps) == []

    def test_small_share_is_one_replica(self) -> None:
        assert len(started(plan(a_rollout(99, 1), serving("a", *self.old), 0.0))) == 1

    def test_candidate_gets_nothing_before_all_its_replicas_are_ready(self) -> None:
        world = serving("a", *self.old)
        half = (self.new[0], replace(self.new[1], state=STARTING))
        steps = plan(a_rollout(70, 30), replace(world, replicas=(*self.old, *half)), 0.0)
        assert shares(steps) == {"a:1": 100}  # said anew, because there is a candidate now
        steps = plan(a_rollout(70, 30), replace(world, replicas=(*self.old, *self.new[:2])), 0.0)
        assert shares(steps) == {"a:1": 70, "b:1": 30}

    def test_larger_share_waits_for_its_replicas(self) -> None:
        before = settled(a_rollout(90, 10), make_world(*self.old, self.new[0]))
        steps = plan(a_rollout(50, 50), before, 0.0)
        assert kinds(steps) == [StartReplica]
        steps = plan(a_rollout(50, 50), replace(before, replicas=(*self.old, *self.new[:2])), 0.0)
        assert shares(steps) == {"a:1": 50, "b:1": 50}

    def test_share_stays_when_a_replica_is_lost(self) -> None:
        desired = a_rollout(50, 50)
        world = settled(desired, make_world(*self.old, *self.new[:2]))
        lost = replace(self.new[1], state=STARTING)
        steps = plan(desired, replace(world, replicas=(*self.old, self.new[0], lost)), 0.0)
        assert shares(steps) == {"a:1": 50, "b:1": 50}

    def test_promoted_candidate_takes_over_only_with_all_its_replicas(self) -> None:
        world = settled(a_rollout(50, 50), make_world(*self.old, *self.new[:2]))
        promoted = make_desired(
            make_service(make_deployment("a", 0), make_deployment("b"), replicas=4)
        )
        steps = plan(promoted, world, 0.0)
        assert shares(steps) == {"a:1": 50, "b:1": 50}  # said anew: there is no candidate any more
        assert len(started(steps)) == 2
        complete = replace(world, replicas=(*self.old, *self.new))
        assert shares(plan(promoted, complete, 0.0)) == {"b:1": 100}
        assert stopped(plan(promoted, settled(promoted, complete), 0.0)) == [
            replica.id for replica in self.old
        ]

    def test_candidate_that_is_taken_back_gets_nothing_more_at_once(self) -> None:
        world = settled(a_rollout(50, 50), make_world(*self.old, *self.new[:2]))
        busy = (replace(self.old[0], state=STARTING), *self.old[1:])
        back = make_desired(make_service(make_deployment("a"), replicas=4))
        steps = plan(back, replace(world, replicas=(*busy, *self.new[:2])), 0.0)
        assert list(shares(steps) or ()) == ["a:1"]
        assert upstreams(steps) == [replica.id for replica in self.old[1:]]

    def test_candidate_serves_all_while_nothing_else_is_ready(self) -> None:
        desired = a_rollout(90, 10)
        world = settled(desired, make_world(*self.old, self.new[0]))
        lost = [replace(replica, state=STARTING) for replica in self.old]
        steps = plan(desired, replace(world, replicas=(*lost, self.new[0])), 0.0)
        assert upstreams(steps) == [self.new[0].id]

    def test_killed_agent_that_lost_the_document_serves_by_what_is_wanted(self) -> None:
        steps = plan(a_rollout(90, 10), make_world(*self.old, self.new[0]), 0.0)
        assert shares(steps) == {"a:1": 90, "b:1": 10}


class TestShadow:
    old = (make_replica(0), make_replica(1))
    desired = make_desired(
        make_service(make_deployment("a"), make_deployment("b", 0), candidate=an_id("b"), shadow=60)
    )

    def test_has_replicas_for_its_share_and_gets_only_copies(self) -> None:
        steps = plan(self.desired, serving("a", *self.old), 0.0)
        new = [make_replica(number, "b") for number in range(2)]
        assert started(steps) == [replica.id for replica in new]
        world = replace(serving("a", *self.old), replicas=(*self.old, *new))
        steps = plan(self.desired, world, 0.0)
        assert shares(steps) == {"a:1": 100, "b:1": 0}
        assert isinstance(steps[0], ConfigureGateway)
        [route] = steps[0].config.services
        assert (route.shadow, route.candidate) == (60, str(an_id("b")))

    def test_promoted_takes_over_with_all_its_replicas(self) -> None:
        world = settled(self.desired, make_world(*self.old, make_replica(0, "b")))
        promoted = make_desired(make_service(make_deployment("a", 0), make_deployment("b")))
        assert shares(plan(promoted, world, 0.0)) == {"a:1": 100, "b:1": 0}
        both = (make_replica(0, "b"), make_replica(1, "b"))
        complete = replace(world, replicas=(*self.old, *both))
        assert shares(plan(promoted, complete, 0.0)) == {"b:1": 100}


class TestSplit:
    def test_replicas_follow_the_shares(self) -> None:
        desired = make_desired(
            make_service(make_deployment("a", 80), make_deployment("b", 20), replicas=5)
        )
        assert len(started(plan(desired, make_world(), 0.0))) == 4 + 1

    def test_nothing_is_given_away_before_the_others_can_take_it(self) -> None:
        old = tuple(make_replica(number) for number in range(4))
        new = tuple(make_replica(number, "b") for number in range(3))
        desired = make_desired(
            make_service(make_deployment("a", 25), make_deployment("b", 75), replicas=4)
        )
        before = settled(make_desired(make_service(replicas=4)), make_world(*old))
        world = replace(before, replicas=(*old, *new[:2]))
        steps = plan(desired, world, 0.0)
        assert (len(started(steps)), stopped(steps), shares(steps)) == (1, [], None)
        world = replace(world, replicas=(*old, *new))
        steps = plan(desired, world, 0.0)
        assert shares(steps) == {"a:1": 25, "b:1": 75}
        assert stopped(steps) == []  # not before the gateway obeys
        assert len(stopped(plan(desired, settled(desired, world), 0.0))) == 3


class TestScaling:
    def test_more_replicas_restart_none(self) -> None:
        desired = make_desired(make_service(replicas=4))
        steps = plan(desired, serving("a", make_replica(0), make_replica(1)), 0.0)
        assert kinds(steps) == [StartReplica, StartReplica]
        assert started(steps) == [make_replica(2).id, make_replica(3).id]

    def test_fewer_replicas_leave_the_gateway_before_they_stop(self) -> None:
        desired = make_desired(make_service(replicas=1))
        world = serving("a", make_replica(0), make_replica(1))
        assert upstreams(plan(desired, world, 0.0)) == [make_replica(0).id]
        assert stopped(plan(desired, world, 0.0)) == []
        assert stopped(plan(desired, settled(desired, world), 0.0)) == [make_replica(1).id]

    def test_the_least_useful_replica_goes(self) -> None:
        desired = make_desired(make_service(replicas=1))
        world = make_world(make_replica(0, state=FAILED), make_replica(1))
        assert stopped(plan(desired, settled(desired, world), 0.0)) == [make_replica(0).id]

    def test_number_of_a_draining_replica_is_not_used_again(self) -> None:
        desired = make_desired(make_service(replicas=2))
        world = serving("a", make_replica(0), make_replica(1, state=DRAINING))
        assert started(plan(desired, world, 0.0)) == [make_replica(2).id]


class TestHealing:
    desired = make_desired(make_service(replicas=1))
    ended = make_replica(0, alive=False, state=FAILED)

    def test_ended_replica_is_started_again_under_its_name(self) -> None:
        assert started(plan(self.desired, make_world(self.ended), 0.0)) == [self.ended.id]

    def test_ended_replica_waits_for_its_time(self) -> None:
        world = settled(self.desired, make_world(self.ended, not_before={self.ended.id: 5.0}))
        assert plan(self.desired, world, 4.9) == ()
        assert started(plan(self.desired, world, 5.0)) == [self.ended.id]

    def test_living_replica_needs_no_image(self) -> None:
        world = settled(self.desired, make_world(make_replica(0), images=frozenset()))
        assert plan(self.desired, world, 0.0) == ()

    def test_service_without_a_ready_replica_keeps_its_route_and_says_why(self) -> None:
        cause = make_cause()
        steps = plan(self.desired, make_world(make_replica(0, state=FAILED, cause=cause)), 0.0)
        assert isinstance(steps[0], ConfigureGateway)
        [route] = steps[0].config.services
        assert (route.upstreams, route.unavailable) == ((), cause.message)

    @pytest.mark.parametrize("alive", [True, False])
    def test_surplus_is_ended_also_while_no_gateway_runs(self, alive: bool) -> None:
        extra = make_replica(1, state=FAILED, alive=alive)
        world = settled(self.desired, make_world(make_replica(0), extra))
        world = replace(world, gateway=replace(world.gateway, applied=None))
        kind = StopReplica if alive else RemoveReplica
        assert plan(self.desired, world, 0.0) == (kind(extra.id),)


class TestRemoval:
    def test_route_goes_before_the_replicas(self) -> None:
        world = serving("a", make_replica(0))
        steps = plan(make_desired(), world, 0.0)
        assert kinds(steps) == [ConfigureGateway]
        assert steps[0].config.services == ()
        world = settled(make_desired(), world)
        assert stopped(plan(make_desired(), world, 0.0)) == [make_replica(0).id]

    def test_service_of_the_same_name_is_another_one(self) -> None:
        again = make_service(make_deployment("b"), id=an_id("again"), replicas=1)
        world = serving("a", make_replica(0))
        steps = plan(make_desired(again), world, 0.0)
        assert upstreams(steps) == []
        assert len(started(steps)) == 1
        world = settled(make_desired(again), world)
        assert stopped(plan(make_desired(again), world, 0.0)) == [make_replica(0).id]


class TestConfiguration:
    def test_version_grows_beyond_what_the_gateway_obeys(self) -> None:
        world = make_world(gateway=GatewayView(GatewayConfig(0), applied=41))
        [step, *_] = plan(make_desired(make_service()), world, 0.0)
        assert isinstance(step, ConfigureGateway)
        assert step.config.version == 42

    def test_change_of_a_setting_changes_the_route_only(self) -> None:
        world = serving("a", make_replica(0), make_replica(1))
        changed = make_service(auth=Authentication.KEY, max_concurrent_requests=3)
        [step] = plan(make_desired(changed), world, 0.0)
        assert isinstance(step, ConfigureGateway)
        [route] = step.config.services
        assert (route.auth, route.max_concurrent_requests) == ("key", 3)
        assert [key.id for key in route.keys] == ["0123456789abcdef"]

    def test_services_do_not_touch_each_other(self) -> None:
        first, second = make_service(), make_service(make_deployment("b"), name="iris")
        world = serving("a", make_replica(0), make_replica(1))
        steps = plan(make_desired(first, second), world, 0.0)
        assert [step for step in started(steps) if step.startswith("digits")] == []
        assert upstreams(steps) == [make_replica(0).id, make_replica(1).id]
