"""Services and the reconciler on a real database; the agent is played by the test."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.factories import KEY, add_running_image, finish_image, make_manifest
from tests.integration.control.yard import AGENT, OWNER, Yard

from modelyard.domain.cause import Cause, CauseCode
from modelyard.domain.image import Base, CheckReport, Image
from modelyard.domain.keys import parse_key, verify_key
from modelyard.domain.operation import OperationState
from modelyard.domain.rollout import Canary
from modelyard.domain.search import Search
from modelyard.domain.service import (
    KeySlot,
    ServiceSettings,
    ServiceState,
)
from modelyard.domain.values import Reference
from modelyard.errors import Conflict, InvalidRequest, NotFound
from modelyard.schemas import DeployService, SettingsChange, SplitService, UpdateService
from modelyard.store import Database
from modelyard.targets.agent import LocalTarget

BROKEN = Cause(
    code=CauseCode.INIT_RAISED,
    message="`init()` raised KeyError.",
    evidence=("KeyError: 'weights'",),
    fix="mend it",
)


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    database = Database(f"sqlite:///{tmp_path / 'yard.db'}")
    database.migrate()
    yield Yard(database)
    database.close()


def request(image: Image, /, **changes: object) -> DeployService:
    fields = {"name": "iris", "image": image.reference, **changes}
    return DeployService.model_validate(fields)


def test_a_deploy_ends_when_the_agent_is_there(yard: Yard) -> None:
    accepted = yard.services.deploy(OWNER, request(yard.image()))
    assert accepted.operation.state is OperationState.RUNNING
    yard.report(ready=False)
    assert yard.operation(accepted.operation).state is OperationState.RUNNING
    yard.report()
    assert yard.operation(accepted.operation).state is OperationState.SUCCEEDED
    service = yard.services.get(OWNER, "iris")
    assert service.status.state is ServiceState.HEALTHY
    assert service.scoring_uri == "http://127.0.0.1:1/services/iris/score"
    assert yard.services.why(OWNER, "iris") is None


def test_a_failed_deploy_says_why_in_operation_and_service(yard: Yard) -> None:
    accepted = yard.services.deploy(OWNER, request(yard.image()))
    yard.report(ready=False, failed=BROKEN)
    operation = yard.operation(accepted.operation)
    assert operation.state is OperationState.FAILED
    assert operation.error is not None
    assert operation.error["code"] == "deploy_failed"
    assert operation.error["details"]["cause"]["code"] == "init_raised"
    assert yard.services.why(OWNER, "iris") == BROKEN


def test_a_repeated_deploy_gets_the_first_answer(yard: Yard) -> None:
    wanted = request(yard.image())
    first = yard.services.deploy(OWNER, wanted, "the-same-key")
    assert yard.services.deploy(OWNER, wanted, "the-same-key") == first
    with pytest.raises(Conflict):
        yard.services.deploy(OWNER, request(yard.image("other")), "the-same-key")


def test_a_taken_name_is_refused(yard: Yard) -> None:
    image = yard.image()
    yard.services.deploy(OWNER, request(image))
    with pytest.raises(Conflict):
        yard.services.deploy(OWNER, request(image))


@pytest.mark.parametrize(
    ("changes", "error"), [({"target": "moon"}, InvalidRequest), ({"image": "gone:1"}, NotFound)]
)
def test_a_deploy_of_what_is_not_there_changes_nothing(
    yard: Yard, changes: dict[str, str], error: type[Exception]
) -> None:
    with pytest.raises(error):
        yard.services.deploy(OWNER, request(yard.image(), **changes))
    assert yard.services.search(OWNER, Search()).items == ()


def test_target_reaches_the_agent(yard: Yard) -> None:
    base = Base(origin="host", digest=f"sha256:{0:064x}", python="/python", layers=())
    with yard.database.write() as tx:
        image = add_running_image(tx, "contained")
        manifest = make_manifest([], "contained").model_copy(update={"base": base})
        tx.images.succeed(image.id, manifest, KEY.sign(manifest.digest), [], None)
    yard.services.deploy(OWNER, request(image, target="container"))
    [service] = yard.agents.desired(AGENT, "local").services
    assert [deployment.target for deployment in service.deployments] == ["container"]


def test_image_without_a_base_is_refused_where_it_needs_one(yard: Yard) -> None:
    with pytest.raises(InvalidRequest, match="no base") as refused:
        yard.services.deploy(OWNER, request(yard.image(), target="container"))
    assert "build it again" in refused.value.hint
    assert yard.agents.desired(AGENT, "local").services == ()


def test_a_target_that_cannot_is_told_before_anything_changes(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LocalTarget, "capabilities", frozenset())
    image = yard.image()
    with pytest.raises(InvalidRequest, match="one replica"):
        yard.services.deploy(OWNER, request(image, settings={"replicas": 2}))
    yard.services.deploy(OWNER, request(image))
    change = UpdateService(settings=SettingsChange(replicas=2))
    with pytest.raises(InvalidRequest, match="one replica"):
        yard.changes.update(OWNER, "iris", change)


def test_an_update_retires_the_former_deployment(yard: Yard) -> None:
    first, second = yard.image(), yard.image()
    yard.services.deploy(OWNER, request(first))
    yard.report()
    accepted = yard.changes.update(OWNER, "iris", UpdateService(image=second.reference))
    assert [d.weight for d in accepted.service.deployments] == [0, 100]
    yard.report()
    service = yard.services.get(OWNER, "iris")
    assert yard.operation(accepted.operation).state is OperationState.SUCCEEDED
    assert [d.image for d in service.deployments] == [second.reference]
    assert service.image == second.reference


def test_a_failed_update_goes_back_by_itself(yard: Yard) -> None:
    first, second = yard.image(), yard.image()
    yard.services.deploy(OWNER, request(first))
    yard.report()
    accepted = yard.changes.update(OWNER, "iris", UpdateService(image=second.reference))
    yard.report(ready=False, failed=BROKEN)
    operation = yard.operation(accepted.operation)
    assert operation.state is OperationState.FAILED
    assert operation.error is not None
    assert "raised KeyError; what served before goes on serving" in operation.error["message"]
    yard.report()
    service = yard.services.get(OWNER, "iris")
    assert (service.image, service.status.state) == (first.reference, ServiceState.HEALTHY)


def test_the_log_tells_what_changes(yard: Yard) -> None:
    first, second = yard.image(), yard.image()
    yard.services.deploy(OWNER, request(first))
    yard.report()

    def told(change: UpdateService) -> list[str]:
        accepted = yard.changes.update(OWNER, "iris", change)
        yard.report(started_at=datetime.now(UTC))
        return yard.log(accepted.operation)

    settings = SettingsChange(sticky="x-user-id", max_queue_wait=5)
    assert told(UpdateService(settings=settings)) == [
        "changing max_queue_wait, sticky",
        "iris:1 is ready: 1 replica",
    ]
    begins, _, ready = told(UpdateService(image=second.reference))
    assert begins == "updating to iris:2"
    assert ready == "iris:2 is ready: 1 replica"
    told(UpdateService(settings=SettingsChange(memory=1 << 29)))
    back = yard.changes.rollback(OWNER, "iris")
    assert (
        yard.log(back.operation)[0] == "going back to iris:2, as of generation 3, changing memory"
    )


def test_why_an_update_went_back_is_told_with_what_was_seen(yard: Yard) -> None:
    first, second = yard.image(), yard.image()
    yard.services.deploy(OWNER, request(first))
    yard.report()
    yard.changes.update(OWNER, "iris", UpdateService(image=second.reference))
    yard.report(ready=False, failed=BROKEN)
    yard.report()
    told = yard.services.why(OWNER, "iris")
    assert told is not None
    assert told.code is CauseCode.INIT_RAISED
    assert told.message == f"`iris` went back to {first.reference} by itself: {BROKEN.message}"
    assert set(BROKEN.evidence) < set(told.evidence)
    assert told.fix.startswith(f"{BROKEN.fix}. `modelyard service history iris`")
    yard.changes.update(OWNER, "iris", UpdateService(settings=SettingsChange(replicas=2)))
    yard.report()
    assert yard.services.why(OWNER, "iris") is None
    assert yard.services.history(OWNER, "iris")[2].cause == BROKEN


def test_a_newer_update_takes_the_place_of_one_on_its_way(yard: Yard) -> None:
    first, second, third = yard.image(), yard.image(), yard.image()
    yard.services.deploy(OWNER, request(first))
    yard.report()
    stuck = yard.changes.update(OWNER, "iris", UpdateService(image=second.reference))
    newer = yard.changes.update(OWNER, "iris", UpdateService(image=third.reference))
    assert yard.operation(stuck.operation).state is OperationState.CANCELLED
    assert [d.image for d in newer.service.deployments] == [first.reference, third.reference]
    yard.report(ready=False, failed=BROKEN)
    assert yard.services.get(OWNER, "iris").image == first.reference


def test_a_setting_changed_during_an_update_keeps_the_image_that_was_asked_for(
    yard: Yard,
) -> None:
    first, second = yard.image(), yard.image()
    yard.services.deploy(OWNER, request(first))
    yard.report()
    yard.changes.update(OWNER, "iris", UpdateService(image=second.reference))
    change = UpdateService(settings=SettingsChange(memory=1 << 29))
    service = yard.changes.update(OWNER, "iris", change).service
    assert service.image == second.reference
    assert [d.image for d in service.deployments] == [first.reference, second.reference]


class TestCanary:
    @pytest.fixture
    def images(self, yard: Yard) -> list[Image]:
        images = [yard.image() for _ in range(3)]
        yard.services.deploy(OWNER, request(images[0]))
        yard.report()
        return images

    def begin(self, yard: Yard, image: Image, *steps: int, step_time: float | None = None) -> Any:
        canary = Canary(steps=steps or (10,), step_time=step_time)
        change = UpdateService(image=image.reference, canary=canary)
        return yard.changes.update(OWNER, "iris", change)

    def traffic(self, yard: Yard) -> list[tuple[str, int]]:
        return [(d.image, d.weight) for d in yard.services.get(OWNER, "iris").deployments]

    def test_ends_its_operation_with_its_share_and_waits_to_be_promoted(
        self, yard: Yard, images: list[Image]
    ) -> None:
        accepted = self.begin(yard, images[1])
        assert accepted.service.rollout.since is None
        yard.report()
        assert yard.operation(accepted.operation).state is OperationState.SUCCEEDED
        service = yard.services.get(OWNER, "iris")
        assert service.rollout is not None
        assert service.rollout.since is not None
        assert service.status.state is ServiceState.HEALTHY
        yard.report()
        assert self.traffic(yard) == [("iris:1", 90), ("iris:2", 10)]
        promoted = yard.changes.promote(OWNER, "iris")
        assert self.traffic(yard) == [("iris:1", 0), ("iris:2", 100)]
        yard.report()
        assert yard.operation(promoted.operation).state is OperationState.SUCCEEDED
        assert self.traffic(yard) == [("iris:2", 100)]
        newest = yard.services.history(OWNER, "iris")[0]
        assert (newest.outcome, newest.reason) == ("Served", "promoted at 10 % by owner")
        with pytest.raises(Conflict, match="no candidate"):
            yard.changes.promote(OWNER, "iris")

    def test_steps_follow_each_other_whoever_looks(
        self, yard: Yard, images: list[Image], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        moves: list[datetime] = []

        class Clock(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> Any:
                return datetime.now(tz) + timedelta(hours=len(moves))

        monkeypatch.setattr("modelyard.control.reconciler.datetime", Clock)
        self.begin(yard, images[1], 10, 50, step_time=1800.0)
        seen = []
        for _ in range(6):
            yard.report()
            seen.append(self.traffic(yard)[-1])
            moves.append(datetime.now(UTC))
        shares = [share for _, share in seen]
        assert sorted(set(shares)) == [10, 50, 100]
        assert shares == sorted(shares)
        assert self.traffic(yard) == [("iris:2", 100)]
        newest = yard.services.history(OWNER, "iris")[0]
        assert (newest.outcome, newest.reason) == ("Served", "promoted by its steps")

    def test_a_candidate_that_fails_later_goes_back_by_itself(
        self, yard: Yard, images: list[Image]
    ) -> None:
        self.begin(yard, images[1])
        yard.report()
        yard.report(ready=False, failed=BROKEN)
        yard.report()
        service = yard.services.get(OWNER, "iris")
        assert (service.image, service.rollout) == ("iris:1", None)
        assert self.traffic(yard) == [("iris:1", 100)]
        back, failed, _ = yard.services.history(OWNER, "iris")
        assert (failed.outcome, failed.reason) == ("Failed", BROKEN.message)
        assert (back.outcome, back.by, back.image) == ("Served", "", "iris:1")

    def test_a_promoted_candidate_that_cannot_have_all_replicas_goes_back(
        self, yard: Yard, images: list[Image]
    ) -> None:
        self.begin(yard, images[1])
        yard.report()
        promoted = yard.changes.promote(OWNER, "iris")
        yard.report(ready=False, failed=BROKEN)
        assert yard.operation(promoted.operation).state is OperationState.FAILED
        yard.report()
        assert self.traffic(yard) == [("iris:1", 100)]
        assert yard.services.history(OWNER, "iris")[1].outcome == "Failed"

    def test_a_rollback_drops_the_candidate(self, yard: Yard, images: list[Image]) -> None:
        begun = self.begin(yard, images[1])
        accepted = yard.changes.rollback(OWNER, "iris")
        assert yard.operation(begun.operation).state is OperationState.CANCELLED
        assert [(d.image, d.weight) for d in accepted.service.deployments] == [("iris:1", 100)]
        yard.report()
        assert yard.operation(accepted.operation).state is OperationState.SUCCEEDED
        change = yard.services.history(OWNER, "iris")[1]
        assert (change.outcome, change.reason) == ("Superseded", "taken back at 10 % by owner")

    def test_a_shadow_gets_no_traffic_until_it_is_promoted(
        self, yard: Yard, images: list[Image]
    ) -> None:
        change = UpdateService(image=images[1].reference, shadow=20)
        accepted = yard.changes.update(OWNER, "iris", change)
        [desired] = yard.agents.desired(AGENT, "local").services
        assert desired.shadow == 20
        assert len(desired.wanted) == 2
        yard.report()
        assert yard.operation(accepted.operation).state is OperationState.SUCCEEDED
        assert self.traffic(yard) == [("iris:1", 100), ("iris:2", 0)]
        yard.report()
        assert yard.services.get(OWNER, "iris").rollout is not None
        yard.changes.promote(OWNER, "iris")
        yard.report()
        assert self.traffic(yard) == [("iris:2", 100)]
        newest = yard.services.history(OWNER, "iris")[0]
        assert newest.rollout == "shadow 20 %"
        assert newest.reason == "promoted at a shadow of 20 % by owner"

    def test_a_shadow_that_fails_goes_back(self, yard: Yard, images: list[Image]) -> None:
        change = UpdateService(image=images[1].reference, shadow=20)
        accepted = yard.changes.update(OWNER, "iris", change)
        yard.report(ready=False, failed=BROKEN)
        assert yard.operation(accepted.operation).state is OperationState.FAILED
        yard.report()
        assert self.traffic(yard) == [("iris:1", 100)]

    def test_another_image_is_refused_meanwhile_and_scaling_is_not(
        self, yard: Yard, images: list[Image]
    ) -> None:
        self.begin(yard, images[1])
        for change in (
            UpdateService(image=images[2].reference),
            UpdateService(settings=SettingsChange(cpu=2)),
            UpdateService(image=images[2].reference, canary=Canary(steps=(5,))),
            UpdateService(image=images[1].reference, canary=Canary(steps=(50,))),
        ):
            with pytest.raises(Conflict, match="is trying iris:2 at 10 %") as refused:
                yard.changes.update(OWNER, "iris", change)
            assert "service promote iris" in refused.value.hint
        scaled = UpdateService(settings=SettingsChange(replicas=3))
        accepted = yard.changes.update(OWNER, "iris", scaled)
        assert self.traffic(yard) == [("iris:1", 90), ("iris:2", 10)]
        yard.report()
        assert yard.operation(accepted.operation).state is OperationState.SUCCEEDED
        assert yard.services.get(OWNER, "iris").rollout is not None

    def test_what_replaces_nothing_cannot_be_tried(self, yard: Yard, images: list[Image]) -> None:
        change = UpdateService(settings=SettingsChange(replicas=2), canary=Canary(steps=(10,)))
        with pytest.raises(InvalidRequest, match="no candidate to try"):
            yard.changes.update(OWNER, "iris", change)

    def test_a_delete_ends_it(self, yard: Yard, images: list[Image]) -> None:
        self.begin(yard, images[1])
        yard.services.delete(OWNER, "iris")
        yard.report()
        with pytest.raises(NotFound):
            yard.services.get(OWNER, "iris")


class TestAskedAgain:
    def test_nothing_changes_and_the_log_says_so(self, yard: Yard) -> None:
        yard.services.deploy(OWNER, request(yard.image()))
        yard.report()
        change = UpdateService(settings=SettingsChange(capture=100))
        first = yard.changes.update(OWNER, "iris", change)
        meanwhile = yard.changes.update(OWNER, "iris", change)
        yard.report()
        later = yard.changes.update(OWNER, "iris", change)
        assert [one.unchanged for one in (first, meanwhile, later)] == [False, True, True]
        assert later.service.generation == first.service.generation
        assert yard.operation(first.operation).state is OperationState.SUCCEEDED
        assert yard.operation(later.operation).state is OperationState.SUCCEEDED
        assert str(first.operation.id) in yard.log(meanwhile.operation)[0]
        assert yard.log(later.operation) == ["nothing changed: `iris` is already asked to be so"]
        assert len(yard.services.history(OWNER, "iris")) == 2

    def test_a_candidate_is_one_however_often_it_is_asked_for(self, yard: Yard) -> None:
        first, second = yard.image(), yard.image()
        yard.services.deploy(OWNER, request(first))
        yard.report()
        change = UpdateService(image=second.reference, canary=Canary(steps=(10,)))
        begun = yard.changes.update(OWNER, "iris", change)
        yard.report()
        again = yard.changes.update(OWNER, "iris", change)
        assert again.unchanged
        assert again.service.generation == begun.service.generation
        with pytest.raises(Conflict, match="is trying iris:2 at 10 %"):
            yard.changes.update(OWNER, "iris", UpdateService(image=second.reference))


class TestSplit:
    def test_there_and_back(self, yard: Yard) -> None:
        first, second = yard.image(), yard.image()
        yard.services.deploy(OWNER, request(first))
        yard.report()
        shares = {first.reference: 80, second.reference: 20}
        accepted = yard.changes.split(OWNER, "iris", SplitService(shares=shares))
        yard.report()
        assert yard.operation(accepted.operation).state is OperationState.SUCCEEDED
        service = yard.services.get(OWNER, "iris")
        assert {d.image: d.weight for d in service.deployments} == shares
        assert yard.changes.split(OWNER, "iris", SplitService(shares=shares)).unchanged
        change = UpdateService(image=second.reference, canary=Canary(steps=(10,)))
        with pytest.raises(Conflict, match="is split: iris:1 80 %, iris:2 20 %"):
            yard.changes.update(OWNER, "iris", change)
        yard.changes.update(OWNER, "iris", UpdateService(image=first.reference))
        yard.report()
        yard.changes.rollback(OWNER, "iris")
        yard.report()
        service = yard.services.get(OWNER, "iris")
        assert {d.image: d.weight for d in service.deployments if d.weight} == shares

    def test_one_that_cannot_run_leaves_the_shares_of_before(self, yard: Yard) -> None:
        first, second = yard.image(), yard.image()
        yard.services.deploy(OWNER, request(first))
        yard.report()
        shares = {first.reference: 80, second.reference: 20}
        yard.changes.split(OWNER, "iris", SplitService(shares=shares))
        yard.report(ready=False, failed=BROKEN)
        yard.report()
        service = yard.services.get(OWNER, "iris")
        assert [(d.image, d.weight) for d in service.deployments] == [(first.reference, 100)]

    def test_settings_change_along_with_it(self, yard: Yard) -> None:
        first, second = yard.image(), yard.image()
        yard.services.deploy(OWNER, request(first))
        yard.report()
        shares, larger = {first.reference: 80, second.reference: 20}, SettingsChange(memory=3 << 30)
        wanted = SplitService(shares=shares, settings=larger)
        generation = yard.changes.split(OWNER, "iris", wanted).service.generation
        yard.report()
        service = yard.services.get(OWNER, "iris")
        assert (service.generation, generation) == (2, 2)
        assert {(d.image, d.settings.memory) for d in service.deployments} == {
            (reference, 3 << 30) for reference in shares
        }
        assert yard.changes.split(OWNER, "iris", wanted).unchanged
        unable = SplitService(shares=shares, settings=SettingsChange(replicas=-1))
        with pytest.raises(InvalidRequest, match="`replicas`"):
            yard.changes.split(OWNER, "iris", unable)

    def test_an_image_named_twice_is_refused(self, yard: Yard) -> None:
        image = yard.image()
        yard.services.deploy(OWNER, request(image))
        shares = {"iris": 50, image.reference: 50}
        with pytest.raises(InvalidRequest, match="named twice"):
            yard.changes.split(OWNER, "iris", SplitService(shares=shares))


def test_a_key_used_for_one_service_means_nothing_for_another(yard: Yard) -> None:
    image = yard.image()
    change = UpdateService(settings=SettingsChange(replicas=2))
    for name in ("iris", "rose"):
        yard.services.deploy(OWNER, request(image, name=name))
    yard.changes.update(OWNER, "iris", change, "one-key-for-both")
    with pytest.raises(Conflict):
        yard.changes.update(OWNER, "rose", change, "one-key-for-both")


def test_scaling_keeps_the_deployment(yard: Yard) -> None:
    before = yard.services.deploy(OWNER, request(yard.image())).service
    yard.report()
    change = UpdateService(settings=SettingsChange(replicas=3))
    after = yard.changes.update(OWNER, "iris", change).service
    assert after.settings == ServiceSettings(replicas=3)
    assert after.deployments[0].id == before.deployments[0].id


@pytest.mark.parametrize(
    "change",
    [
        UpdateService(settings=SettingsChange(replicas=0)),
        UpdateService(settings=SettingsChange(environment={"LD_PRELOAD": "x"})),
    ],
)
def test_an_update_to_nonsense_is_refused(yard: Yard, change: UpdateService) -> None:
    yard.services.deploy(OWNER, request(yard.image()))
    with pytest.raises(InvalidRequest):
        yard.changes.update(OWNER, "iris", change)
    assert yard.services.get(OWNER, "iris").generation == 1


def test_a_delete_ends_when_the_agent_has_nothing_left(yard: Yard) -> None:
    yard.services.deploy(OWNER, request(yard.image()))
    yard.report()
    operation = yard.services.delete(OWNER, "iris")
    assert yard.services.delete(OWNER, "iris") == operation
    yard.reconciler.reconcile()
    assert yard.services.get(OWNER, "iris").status.state is ServiceState.DELETING
    with pytest.raises(Conflict):
        yard.changes.update(OWNER, "iris", UpdateService(settings=SettingsChange(replicas=2)))
    yard.report()
    assert yard.operation(operation).state is OperationState.SUCCEEDED
    with pytest.raises(NotFound):
        yard.services.get(OWNER, "iris")


def test_keys_can_be_shown_again_and_only_one_changes(yard: Yard) -> None:
    yard.services.deploy(OWNER, request(yard.image()))
    before = yard.keys.of(OWNER, "iris")
    assert yard.keys.of(OWNER, "iris") == before
    after = yard.keys.regenerate(OWNER, "iris", KeySlot.PRIMARY)
    assert after.primary != before.primary
    assert after.secondary == before.secondary


@pytest.mark.parametrize(("sample", "sent"), [([[1.5]], [[1.5]]), ([1.5] * 10_000, None)])
def test_the_agent_gets_an_example_if_it_is_short(yard: Yard, sample: Any, sent: Any) -> None:
    report = CheckReport(
        workers=2, cold_start=1.0, memory=1, sample=sample, checked_at=datetime.now(UTC)
    )
    with yard.database.write() as tx:
        image = finish_image(tx, add_running_image(tx, "iris"), report=report)
    yard.services.deploy(OWNER, request(image))
    (service,) = yard.agents.desired(AGENT, "local").services
    assert service.deployments[0].sample == sent


def test_the_agent_gets_what_an_image_declares_of_its_rows(yard: Yard) -> None:
    row = {"type": "object", "properties": {"age": {"type": "integer"}}}
    schemas = {"ServiceInput": {"type": "array", "items": row}}
    report = CheckReport(
        workers=2,
        cold_start=1.0,
        memory=1,
        openapi={"components": {"schemas": schemas}},
        checked_at=datetime.now(UTC),
    )
    with yard.database.write() as tx:
        image = finish_image(tx, add_running_image(tx, "iris"), report=report)
    yard.services.deploy(OWNER, request(image))
    (service,) = yard.agents.desired(AGENT, "local").services
    assert service.deployments[0].columns.inputs.named == {"age": "BIGINT"}


def test_the_agent_gets_hashes_and_no_keys(yard: Yard) -> None:
    yard.services.deploy(OWNER, request(yard.image()))
    keys = yard.keys.of(OWNER, "iris")
    document = yard.agents.desired(AGENT, "local")
    key = parse_key(keys.primary)
    assert key is not None
    assert key.secret not in document.model_dump_json()
    hashes = {each.id: each.hash for each in document.services[0].keys}
    assert verify_key(key, hashes[key.id])


def test_a_new_server_makes_documents_of_the_one_before_stale(yard: Yard) -> None:
    before = yard.agents.desired(AGENT, "local")
    yard.agents.take_over("default", "local")
    assert yard.agents.desired(AGENT, "local").fence > before.fence


def test_an_image_is_unchecked_until_its_first_start(yard: Yard) -> None:
    image = yard.image()
    reference = Reference.parse(image.reference)

    def stored() -> Image:
        with yard.database.read() as tx:
            return tx.images.get("default", reference)

    assert stored().marks == ("unchecked",)
    accepted = yard.services.deploy(OWNER, request(image, name="far"))
    yard.report(ready=False, started_at=datetime.now(UTC))
    assert stored().marks == ("unchecked",)
    yard.report(started_at=datetime.now(UTC))
    assert yard.operation(accepted.operation).state is OperationState.SUCCEEDED
    first = stored()
    assert first.marks == ()
    assert first.check is not None
    assert (first.check.workers, first.check.memory, first.check.sample) == (1, 5 << 20, None)
    yard.changes.update(OWNER, "far", UpdateService(settings=SettingsChange(cpu=2)))
    yard.report(started_at=datetime.now(UTC))
    assert stored() == first  # a later start is not the first
