"""What the store of services must do, on whatever database."""

from __future__ import annotations

from uuid import uuid4

import pytest
from sqlalchemy import delete
from tests.factories import (
    AGENT,
    WORKSPACE,
    add_image,
    add_model,
    add_running_image,
    add_service,
    digest_of,
)

from modelyard.domain.cause import Cause, CauseCode
from modelyard.domain.change import ChangeOutcome
from modelyard.domain.desired import KeyHash
from modelyard.domain.rollout import Canary, Move, Rollout
from modelyard.domain.search import Search
from modelyard.domain.service import KeySlot, Service, ServiceSettings, ServiceState, ServiceStatus
from modelyard.domain.values import Reference
from modelyard.errors import Conflict, InUse, NotFound
from modelyard.schemas import ChangeLabels, LogSegment
from modelyard.store import Database, Transaction
from modelyard.store.rows import ImageRow

PLAIN = ServiceSettings()
SCALED = ServiceSettings(replicas=3)
LARGER = ServiceSettings(cpu=2)


def weights(service: Service) -> list[tuple[str, int, int]]:
    return [(one.image, one.weight, one.generation) for one in service.deployments]


def generation(tx: Transaction) -> int:
    return tx.agents.get(AGENT).generation


def found(tx: Transaction, **filters: object) -> list[str]:
    page = tx.services.search(WORKSPACE, Search.model_validate(filters))
    return [service.name for service in page.items]


class TestAdd:
    def test_begins_with_one_deployment(self, tx: Transaction) -> None:
        image = add_image(tx, models=[add_model(tx)])
        service = add_service(tx, "svc", image, settings=LARGER, tags={"a": "1"})
        assert (service.image, service.models) == ("digits:1", ("iris:1",))
        assert (service.generation, weights(service)) == (1, [("digits:1", 100, 1)])
        assert service.deployments[0].digest == image.digest
        assert service.deployments[0].settings == LARGER.for_replica()
        assert service.status == ServiceStatus(state=ServiceState.TRANSITIONING)
        assert (service.settings, service.tags) == (LARGER, {"a": "1"})
        assert tx.services.get(WORKSPACE, "svc") == service

    def test_refuses_a_taken_name(self, tx: Transaction) -> None:
        service = add_service(tx)
        image = tx.images.get(WORKSPACE, Reference("digits", None))
        with pytest.raises(Conflict, match=r"exists already$"):
            add_service(tx, image=image)
        tx.services.mark_deleting(WORKSPACE, service.name)
        with pytest.raises(Conflict, match="is being deleted"):
            add_service(tx, image=image)

    def test_refuses_an_image_that_is_not_built(self, tx: Transaction) -> None:
        with pytest.raises(Conflict, match="its state is Running"):
            add_service(tx, image=add_running_image(tx))

    def test_refuses_an_image_deleted_meanwhile(self, tx: Transaction) -> None:
        image = add_image(tx)
        tx.images.delete(WORKSPACE, Reference("digits", 1))
        with pytest.raises(NotFound, match="digits:1"):
            add_service(tx, image=image)


class TestUpdate:
    def test_another_image_comes_beside_the_former(self, tx: Transaction) -> None:
        add_service(tx)
        service = tx.services.update(WORKSPACE, "digits", add_image(tx), PLAIN)
        assert service.generation == 2
        assert service.image == "digits:2"
        assert weights(service) == [("digits:1", 0, 1), ("digits:2", 100, 2)]

    def test_other_replica_settings_come_beside_the_former(self, tx: Transaction) -> None:
        add_service(tx)
        service = tx.services.update(WORKSPACE, "digits", None, LARGER)
        assert weights(service) == [("digits:1", 0, 1), ("digits:1", 100, 2)]
        assert [one.settings for one in service.deployments] == [
            PLAIN.for_replica(),
            LARGER.for_replica(),
        ]

    def test_scaling_keeps_the_deployment(self, tx: Transaction) -> None:
        before = add_service(tx)
        service = tx.services.update(WORKSPACE, "digits", None, SCALED)
        assert (service.generation, service.settings) == (2, SCALED)
        assert service.deployments == before.deployments

    def test_of_nothing_changes_nothing(self, tx: Transaction) -> None:
        before = add_service(tx)
        told = generation(tx)
        image = tx.images.get(WORKSPACE, Reference("digits", 1))
        assert tx.services.update(WORKSPACE, "digits", image, PLAIN) == before
        assert generation(tx) == told

    def test_is_refused_while_deleting(self, tx: Transaction) -> None:
        add_service(tx)
        tx.services.mark_deleting(WORKSPACE, "digits")
        with pytest.raises(Conflict, match="is being deleted"):
            tx.services.update(WORKSPACE, "digits", None, SCALED)


class TestRevert:
    def test_goes_back_to_image_and_settings_of_before(self, tx: Transaction) -> None:
        add_service(tx)
        tx.services.update(WORKSPACE, "digits", None, SCALED)
        former = tx.services.get(WORKSPACE, "digits")
        service = tx.services.update(WORKSPACE, "digits", add_image(tx), LARGER)
        reverted = tx.services.revert(service.id, 3)
        assert reverted.generation == 4
        assert (reverted.image, reverted.settings) == ("digits:1", SCALED)
        assert reverted.deployments == former.deployments

    def test_goes_back_past_what_never_got_ready(self, tx: Transaction) -> None:
        add_service(tx)
        tx.services.update(WORKSPACE, "digits", add_image(tx), PLAIN)
        service = tx.services.update(WORKSPACE, "digits", add_image(tx), PLAIN)
        reverted = tx.services.revert(service.id, service.generation)
        assert weights(reverted) == [("digits:1", 100, 1)]

    def test_frees_the_failed_image(self, tx: Transaction) -> None:
        service = add_service(tx)
        tx.services.update(WORKSPACE, "digits", add_image(tx), PLAIN)
        tx.services.revert(service.id, 2)
        tx.images.delete(WORKSPACE, Reference("digits", 2))

    def test_does_nothing_when_there_is_nothing_to_go_back_to(self, tx: Transaction) -> None:
        service = add_service(tx)
        assert tx.services.revert(service.id, 1) == service

    def test_does_nothing_to_a_newer_generation(self, tx: Transaction) -> None:
        service = add_service(tx)
        newer = tx.services.update(WORKSPACE, "digits", None, LARGER)
        assert tx.services.revert(service.id, 1) == newer


class TestRetire:
    def test_removes_what_has_no_traffic(self, tx: Transaction) -> None:
        add_service(tx)
        service = tx.services.update(WORKSPACE, "digits", add_image(tx), PLAIN)
        told = generation(tx)
        retired = tx.services.retire(service.id)
        assert weights(retired) == [("digits:2", 100, 2)]
        assert (retired.generation, generation(tx)) == (2, told + 1)
        tx.images.delete(WORKSPACE, Reference("digits", 1))

    def test_without_leftovers_tells_no_agent(self, tx: Transaction) -> None:
        service = add_service(tx)
        told = generation(tx)
        assert tx.services.retire(service.id) == service
        assert generation(tx) == told


def add_split(tx: Transaction, *weights: int) -> Service:
    """A service whose images share the traffic, and have served."""
    service = add_service(tx)
    images = [tx.images.get(WORKSPACE, Reference("digits", 1))]
    images += [add_image(tx) for _ in weights[1:]]
    tx.services.split(WORKSPACE, "digits", list(zip(images, weights, strict=True)), PLAIN)
    return tx.services.retire(service.id)


class TestSplit:
    def test_images_that_serve_already_keep_their_deployment(self, tx: Transaction) -> None:
        before = add_service(tx)
        shares = [(tx.images.get(WORKSPACE, Reference("digits", 1)), 30), (add_image(tx), 70)]
        service = tx.services.split(WORKSPACE, "digits", shares, PLAIN)
        assert weights(service) == [("digits:1", 30, 1), ("digits:2", 70, 2)]
        assert service.deployments[0].id == before.deployments[0].id
        assert service.image == "digits:2"

    def test_one_that_fails_goes_back_to_the_shares_of_before(self, tx: Transaction) -> None:
        before = add_split(tx, 80, 20)
        shares = [(tx.images.get(WORKSPACE, Reference("digits", 2)), 10), (add_image(tx), 90)]
        failed = tx.services.split(WORKSPACE, "digits", shares, PLAIN)
        assert weights(failed) == [("digits:1", 0, 1), ("digits:2", 10, 2), ("digits:3", 90, 3)]
        reverted = tx.services.revert(failed.id, failed.generation)
        assert reverted.deployments == before.deployments
        assert reverted.image == "digits:1"

    def test_one_that_has_been_reached_is_not_reverted(self, tx: Transaction) -> None:
        before = add_split(tx, 80, 20)
        assert tx.services.revert(before.id, before.generation) == before

    def test_other_replica_settings_replace_all_and_keep_the_shares(self, tx: Transaction) -> None:
        before = add_split(tx, 80, 20)
        after = tx.services.update(WORKSPACE, "digits", None, LARGER)
        assert [w for w in weights(after) if w[1]] == [("digits:1", 80, 3), ("digits:2", 20, 3)]
        assert not {d.id for d in after.deployments if d.weight} & {
            d.id for d in before.deployments
        }

    def test_scaling_keeps_all(self, tx: Transaction) -> None:
        before = add_split(tx, 80, 20)
        assert (
            tx.services.update(WORKSPACE, "digits", None, SCALED).deployments == before.deployments
        )

    def test_history_names_the_shares(self, tx: Transaction) -> None:
        service = add_split(tx, 80, 20)
        newest, first = tx.services.history(service.id)
        assert (newest.image, newest.traffic) == ("digits:1", {"digits:1": 80, "digits:2": 20})
        assert (first.image, first.traffic) == ("digits:1", {})


STEPS = Canary(steps=(10, 50), step_time=60.0)


def add_rollout(tx: Transaction, canary: Canary = STEPS) -> Service:
    """`digits:2` is tried beside `digits:1`, which has served."""
    service = add_service(tx)
    tx.services.end_change(service.id, 1, ChangeOutcome.SERVED)
    tx.services.retire(service.id)
    return tx.services.update(WORKSPACE, "digits", add_image(tx), PLAIN, canary=canary)


def outcomes(tx: Transaction, service: Service) -> list[tuple[int, str, ChangeOutcome]]:
    return [(c.generation, c.image, c.outcome) for c in tx.services.history(service.id)]


class TestRollout:
    def test_begins_with_the_first_share(self, tx: Transaction) -> None:
        service = add_rollout(tx)
        assert weights(service) == [("digits:1", 90, 1), ("digits:2", 10, 2)]
        candidate = service.deployments[1].id
        assert service.rollout == Rollout(candidate=candidate, generation=2, canary=STEPS)
        assert service.image == "digits:2"
        [desired] = tx.services.desired(AGENT)
        assert desired.candidate == candidate
        assert tx.services.history(service.id)[0].rollout == "canary 10 %, 50 %, 1m each"

    def test_goes_step_by_step_to_all_of_the_traffic(self, tx: Transaction) -> None:
        service = add_rollout(tx)
        told = generation(tx)
        begun = tx.services.move_rollout(service.id, Move.BEGIN)
        assert begun.rollout is not None
        assert begun.rollout.since is not None
        assert (begun.generation, generation(tx)) == (2, told)
        grown = tx.services.move_rollout(service.id, Move.GROW)
        assert weights(grown) == [("digits:1", 50, 1), ("digits:2", 50, 2)]
        assert grown.rollout is not None
        assert (grown.rollout.step, grown.rollout.since, grown.generation) == (1, None, 3)
        promoted = tx.services.move_rollout(service.id, Move.PROMOTE, "by its steps")
        assert weights(promoted) == [("digits:1", 0, 1), ("digits:2", 100, 2)]
        assert promoted.rollout is None
        tx.services.end_change(service.id, promoted.generation, ChangeOutcome.SERVED)
        change = tx.services.history(service.id)[0]
        assert (change.outcome, change.reason) == (ChangeOutcome.SERVED, "by its steps")

    def test_promoted_one_that_fails_goes_back(self, tx: Transaction) -> None:
        service = add_rollout(tx)
        promoted = tx.services.move_rollout(service.id, Move.PROMOTE)
        reverted = tx.services.revert(service.id, promoted.generation)
        assert weights(reverted) == [("digits:1", 100, 1)]

    def test_taken_back_leaves_what_served(self, tx: Transaction) -> None:
        service = add_rollout(tx)
        tx.services.end_change(service.id, 2, ChangeOutcome.SUPERSEDED, "taken back")
        reverted = tx.services.revert(service.id, service.generation, by="somebody")
        assert weights(reverted) == [("digits:1", 100, 1)]
        assert (reverted.image, reverted.rollout) == ("digits:1", None)
        assert outcomes(tx, service) == [
            (3, "digits:1", ChangeOutcome.PENDING),
            (2, "digits:2", ChangeOutcome.SUPERSEDED),
            (1, "digits:1", ChangeOutcome.SERVED),
        ]
        tx.images.delete(WORKSPACE, Reference("digits", 2))

    def test_scaling_beside_it_changes_both_and_stays_when_it_fails(self, tx: Transaction) -> None:
        service = add_rollout(tx)
        scaled = tx.services.update(WORKSPACE, "digits", None, SCALED)
        assert (scaled.settings, scaled.deployments) == (SCALED, service.deployments)
        assert scaled.rollout == service.rollout
        tx.services.end_change(service.id, 3, ChangeOutcome.SERVED)
        assert outcomes(tx, service)[:2] == [
            (3, "digits:1", ChangeOutcome.SERVED),
            (2, "digits:2", ChangeOutcome.PENDING),
        ]
        tx.services.end_change(service.id, 3, ChangeOutcome.FAILED, "it broke")
        assert tx.services.history(service.id)[1].outcome is ChangeOutcome.FAILED
        reverted = tx.services.revert(service.id, 3)
        assert (reverted.image, reverted.settings) == ("digits:1", SCALED)

    def test_candidate_with_other_replica_settings_keeps_them_when_both_are_scaled(
        self, tx: Transaction
    ) -> None:
        service = add_service(tx)
        tx.services.retire(service.id)
        tx.services.update(WORKSPACE, "digits", None, LARGER, canary=STEPS)
        wanted = LARGER.model_copy(update={"replicas": 3})
        scaled = tx.services.update(WORKSPACE, "digits", None, wanted)
        assert [d.settings for d in scaled.deployments] == [
            PLAIN.for_replica(),
            LARGER.for_replica(),
        ]
        reverted = tx.services.revert(service.id, 3)
        assert reverted.settings == PLAIN.model_copy(update={"replicas": 3})


class TestImagesInUse:
    def test_a_former_deployment_holds_its_image(self, tx: Transaction) -> None:
        add_service(tx)
        tx.services.update(WORKSPACE, "digits", add_image(tx), PLAIN)
        for version in (1, 2):
            with pytest.raises(InUse):
                tx.images.delete(WORKSPACE, Reference("digits", version))

    def test_the_database_itself_refuses(self, database: Database) -> None:
        with database.write() as tx:
            add_service(tx)
        with pytest.raises(Conflict), database.write() as tx:
            tx._session.execute(delete(ImageRow))


class TestStatus:
    def test_is_kept_without_a_new_generation(self, tx: Transaction) -> None:
        service = add_service(tx)
        told = generation(tx)
        status = ServiceStatus(state=ServiceState.HEALTHY, generation=1)
        tx.services.set_status(service.id, status)
        assert tx.services.get(WORKSPACE, "digits").status == status
        assert generation(tx) == told

    def test_of_a_service_that_is_gone_is_ignored(self, tx: Transaction) -> None:
        tx.services.set_status(uuid4(), ServiceStatus(state=ServiceState.HEALTHY))

    def test_is_current_until_something_changes(self, tx: Transaction) -> None:
        service = add_service(tx)
        assert tx.services.is_current(service.id, 1)
        tx.services.update(WORKSPACE, "digits", None, SCALED)
        assert not tx.services.is_current(service.id, 1)
        assert tx.services.is_current(service.id, 2)
        tx.services.mark_deleting(WORKSPACE, "digits")
        assert not tx.services.is_current(service.id, 3)


class TestSearch:
    def test_finds_by_model_and_image(self, tx: Transaction) -> None:
        image = add_image(tx, "one", models=[add_model(tx)])
        add_service(tx, "first", image, tags={"a": "1"})
        add_service(tx, "second", add_image(tx, "two", models=[add_model(tx)]))
        assert found(tx) == ["second", "first"]
        assert found(tx, model="iris") == ["second", "first"]
        assert found(tx, model="iris:1") == found(tx, image="one") == ["first"]
        assert found(tx, image="one:2") == []
        assert found(tx, image="one:1", tag=["a=1"], name="first", text="FIRST") == ["first"]

    def test_goes_by_the_image_that_is_wanted(self, tx: Transaction) -> None:
        add_service(tx, "svc", add_image(tx, "one", models=[add_model(tx)]))
        tx.services.update(WORKSPACE, "svc", add_image(tx, "two"), PLAIN)
        assert found(tx, model="iris") == found(tx, image="one") == []
        assert found(tx, image="two") == ["svc"]

    def test_changed_labels_are_found_and_nobody_is_woken(self, tx: Transaction) -> None:
        add_service(tx)
        told = generation(tx)
        changed = tx.services.change_labels(
            WORKSPACE, "digits", ChangeLabels(add_tags={"x": "1"}, description="text")
        )
        assert (changed.tags, changed.description, changed.generation) == ({"x": "1"}, "text", 1)
        assert found(tx, tag=["x"], text="text") == ["digits"]
        assert generation(tx) == told

    def test_names_what_was_probably_meant(self, tx: Transaction) -> None:
        add_service(tx, "weather")
        with pytest.raises(NotFound) as refused:
            tx.services.get(WORKSPACE, "wether")
        assert refused.value.hint == "did you mean `weather`?"


class TestKeys:
    def test_are_replaced_whole(self, tx: Transaction) -> None:
        service = add_service(tx)
        primary = KeyHash(id="a", slot=KeySlot.PRIMARY, hash="1")
        secondary = KeyHash(id="b", slot=KeySlot.SECONDARY, hash="2")
        told = generation(tx)
        tx.services.set_keys(service.id, [secondary, primary])
        assert tx.services.keys(service.id) == (primary, secondary)
        assert tx.services.desired(AGENT)[0].keys == (primary, secondary)
        tx.services.set_keys(service.id, [secondary])
        assert tx.services.keys(service.id) == (secondary,)
        assert generation(tx) == told + 2


class TestDesired:
    def test_is_everything_an_agent_needs(self, tx: Transaction) -> None:
        settings = ServiceSettings(replicas=2, max_queue_wait=1, scoring_timeout=5)
        image = add_image(tx)
        service = add_service(tx, "svc", image, settings=settings)
        (desired,) = tx.services.desired(AGENT)
        assert (desired.id, desired.name, desired.generation) == (service.id, "svc", 1)
        assert (desired.replicas, desired.max_queue_wait, desired.scoring_timeout) == (2, 1, 5)
        (deployment,) = desired.deployments
        assert deployment.id == service.deployments[0].id
        assert (deployment.manifest, deployment.weight) == (image.manifest, 100)

    def test_leaves_out_what_is_being_deleted_and_other_agents(self, tx: Transaction) -> None:
        add_service(tx, "one")
        tx.services.mark_deleting(WORKSPACE, "one")
        tx.agents.ensure(WORKSPACE, "edge")
        add_service(tx, "two")
        assert [service.name for service in tx.services.desired(AGENT)] == ["two"]
        assert tx.services.desired("edge") == ()


class TestDelete:
    def test_takes_two_steps(self, tx: Transaction) -> None:
        service = add_service(tx)
        with pytest.raises(Conflict, match="still runs"):
            tx.services.delete(service.id)
        told = generation(tx)
        marked = tx.services.mark_deleting(WORKSPACE, "digits")
        assert marked.status.state is ServiceState.DELETING
        assert tx.services.mark_deleting(WORKSPACE, "digits") == marked
        assert generation(tx) == told + 1
        tx.services.set_status(service.id, ServiceStatus(state=ServiceState.HEALTHY))
        assert tx.services.get(WORKSPACE, "digits").status.state is ServiceState.DELETING
        assert [one.name for one in tx.services.all()] == ["digits"]
        tx.services.delete(service.id)
        tx.services.delete(service.id)
        assert tx.services.all() == ()

    def test_takes_everything_along(self, tx: Transaction) -> None:
        service = add_service(tx, tags={"a": "1"})
        tx.services.set_keys(service.id, [KeyHash(id="a", slot=KeySlot.PRIMARY, hash="1")])
        segment = LogSegment(service=service.id, replica="r", epoch=1, sequence=0, text="line\n")
        tx.logs.add_segment(AGENT, segment)
        tx.services.mark_deleting(WORKSPACE, "digits")
        tx.services.delete(service.id)
        tx.images.delete(WORKSPACE, Reference("digits", 1))
        assert tx.blobs.known(digest_of("digits:1 model")) is not None
        with pytest.raises(NotFound):
            tx.services.keys(service.id)
        with pytest.raises(NotFound):
            tx.logs.read(service.id, None, 0, 10)


class TestHistory:
    def test_every_change_is_noted_and_ends(self, tx: Transaction) -> None:
        service = add_service(tx)
        tx.services.end_change(service.id, 1, ChangeOutcome.SERVED)
        tx.services.update(WORKSPACE, "digits", add_image(tx), LARGER, "somebody")
        tx.services.end_change(service.id, 2, ChangeOutcome.FAILED, "it broke")
        tx.services.revert(service.id, 2, "going back")
        assert [
            (one.generation, one.image, one.settings, one.by, one.outcome, one.reason)
            for one in tx.services.history(service.id)
        ] == [
            (3, "digits:1", PLAIN, "", ChangeOutcome.PENDING, "going back"),
            (2, "digits:2", LARGER, "somebody", ChangeOutcome.FAILED, "it broke"),
            (1, "digits:1", PLAIN, "owner", ChangeOutcome.SERVED, ""),
        ]

    def test_a_change_on_its_way_is_superseded_by_a_newer_one(self, tx: Transaction) -> None:
        service = add_service(tx)
        tx.services.update(WORKSPACE, "digits", None, LARGER)
        newest, former = tx.services.history(service.id)
        assert (newest.outcome, former.outcome) == (
            ChangeOutcome.PENDING,
            ChangeOutcome.SUPERSEDED,
        )

    def test_an_end_is_not_changed(self, tx: Transaction) -> None:
        service = add_service(tx)
        tx.services.end_change(service.id, 1, ChangeOutcome.SERVED)
        tx.services.end_change(service.id, 1, ChangeOutcome.FAILED, "late")
        (only,) = tx.services.history(service.id)
        assert (only.outcome, only.reason) == (ChangeOutcome.SERVED, "")

    def test_wanting_what_is_wanted_is_no_change(self, tx: Transaction) -> None:
        service = add_service(tx)
        tx.services.update(WORKSPACE, "digits", None, PLAIN)
        assert len(tx.services.history(service.id)) == 1

    def test_it_outlives_its_images_and_goes_with_its_service(self, tx: Transaction) -> None:
        service = add_service(tx)
        tx.services.update(WORKSPACE, "digits", add_image(tx), PLAIN)
        tx.services.retire(service.id)
        tx.images.delete(WORKSPACE, Reference("digits", 1))
        assert tx.services.history(service.id)[-1].image == "digits:1"
        tx.services.mark_deleting(WORKSPACE, "digits")
        tx.services.delete(service.id)
        with pytest.raises(NotFound):
            tx.services.history(service.id)


class TestGoingBack:
    def test_what_served_and_was_worse_is_told_as_failed(self, tx: Transaction) -> None:
        service = add_service(tx)
        tx.services.end_change(service.id, 1, ChangeOutcome.SERVED)
        tx.services.retire(service.id)
        tx.services.update(WORKSPACE, "digits", add_image(tx), PLAIN)
        tx.services.end_change(service.id, 2, ChangeOutcome.SERVED)
        worse = Cause(
            code=CauseCode.CANDIDATE_WORSE,
            message="12 of 40 requests failed",
            evidence=("ValueError: no rows",),
        )
        tx.services.take_back(service.id, worse)
        back = tx.services.revert(service.id, 2, "digits:2 was worse")
        assert back.image == "digits:1"
        assert outcomes(tx, back) == [
            (3, "digits:1", ChangeOutcome.PENDING),
            (2, "digits:2", ChangeOutcome.FAILED),
            (1, "digits:1", ChangeOutcome.SERVED),
        ]
        taken_back = tx.services.history(back.id)[1]
        assert (taken_back.reason, taken_back.cause) == (worse.message, worse)

    @pytest.mark.parametrize(("target", "kept"), [("local", 0), ("container", 1)])
    def test_an_engine_keeps_the_image_that_served_before(
        self, tx: Transaction, target: str, kept: int
    ) -> None:
        service = add_service(tx, target=target)
        manifest = tx.services.desired(AGENT)[0].deployments[0].manifest
        tx.services.end_change(service.id, 1, ChangeOutcome.SERVED)
        tx.services.update(WORKSPACE, "digits", add_image(tx), PLAIN)
        tx.services.end_change(service.id, 2, ChangeOutcome.SERVED)
        tx.services.retire(service.id)
        [desired] = tx.services.desired(AGENT)
        assert desired.former == (manifest,) * kept
