"""Profiles as operations on a real database; the measuring is played by the test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import JsonValue
from tests.factories import add_image, add_running_image, make_profile

from modelyard.control.background import MOST_UNENDED, Background
from modelyard.control.operations import Operations
from modelyard.control.profiles import Profiles
from modelyard.domain.cause import CauseCode
from modelyard.domain.operation import Operation, OperationKind, OperationState
from modelyard.domain.principal import Principal, Role
from modelyard.domain.profile import Profile
from modelyard.domain.values import Reference
from modelyard.errors import BuildFailed, Conflict, InvalidRequest, NotFound
from modelyard.images.cancelling import Cancelled, go_on
from modelyard.schemas import ProfileImage
from modelyard.store import Database

OWNER = Principal(id=uuid4(), workspace="default", name="owner", role=Role.OWNER)
SAMPLE = ProfileImage(sample=[1])


class FakeBuilder:
    """Measures what the test says, when it says so."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.go_on = threading.Event()
        self.go_on.set()
        self.sent: list[JsonValue] = []

    def profile(
        self,
        image: str,
        manifest: object,
        signature: object,
        sample: JsonValue,
        request: ProfileImage,
        log: Callable[[str], None],
    ) -> Profile:
        self.sent.append(sample)
        log("1 in flight")
        while not self.go_on.wait(0.01):
            go_on()
        if self.error is not None:
            raise self.error
        return make_profile(image)


class Yard:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.operations = Operations(database)
        self.builder = FakeBuilder()
        self.background = Background(database, self.operations)
        self.profiles = Profiles(database, self.background, self.builder)
        with database.write() as tx:
            self.image = add_image(tx, "iris")

    def begin(self, request: ProfileImage = SAMPLE, image: str = "iris:1") -> Operation:
        return self.profiles.begin(OWNER, Reference.parse(image), request)

    def ended(self, operation: Operation) -> Operation:
        while True:
            seen = self.operations.changed.count
            found = self.operations.get(OWNER, operation.id)
            if found.state.ended:
                return found
            self.operations.changed.wait(seen, 10)

    def log(self, operation: Operation) -> list[str]:
        return [line.text for line in self.operations.log(OWNER, operation.id, 0, 100)]


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    database = Database(f"sqlite:///{tmp_path / 'yard.db'}")
    database.migrate()
    yard = Yard(database)
    yield yard
    yard.background.close()
    yard.background._measured.shutdown(wait=True)
    database.close()


def test_the_result_is_the_profile(yard: Yard) -> None:
    operation = yard.begin()
    assert operation.kind is OperationKind.IMAGE_PROFILE
    assert operation.resource == "image iris:1"
    ended = yard.ended(operation)
    assert ended.state is OperationState.SUCCEEDED
    assert Profile.model_validate(ended.result) == make_profile("iris:1")
    assert yard.builder.sent == [[1]]
    assert yard.log(operation) == ["1 in flight"]


def test_an_image_without_a_sample_needs_one(yard: Yard) -> None:
    with pytest.raises(InvalidRequest, match="nothing to send") as refused:
        yard.begin(ProfileImage())
    assert "--sample" in refused.value.hint


def test_an_image_that_is_not_built_is_refused(yard: Yard) -> None:
    with yard.database.write() as tx:
        add_running_image(tx, "young")
    with pytest.raises(Conflict, match="not built"):
        yard.begin(image="young:1")
    with pytest.raises(NotFound):
        yard.begin(image="none:1")


def test_a_failure_is_recorded_with_its_cause(yard: Yard) -> None:
    cause = {"code": "sample_failed", "message": "no"}
    yard.builder.error = BuildFailed("no", hint="mend it", details={"cause": cause})
    ended = yard.ended(yard.begin())
    assert ended.state is OperationState.FAILED
    assert ended.error is not None
    assert ended.error["code"] == "operation_failed"
    assert ended.error["details"]["cause"] == cause
    assert ended.result is None


def test_a_bug_is_recorded_too(yard: Yard) -> None:
    yard.builder.error = ZeroDivisionError("secret")
    ended = yard.ended(yard.begin())
    assert ended.state is OperationState.FAILED
    assert "secret" not in str(ended.error)


class TestCancel:
    def test_what_is_being_measured_ends(self, yard: Yard) -> None:
        yard.builder.go_on.clear()
        operation = yard.begin()
        assert yard.background.cancel(OWNER, operation.id).state is OperationState.CANCELLED
        yard.background._measured.shutdown(wait=True)
        assert yard.ended(operation).state is OperationState.CANCELLED

    def test_what_waits_is_not_begun(self, yard: Yard) -> None:
        yard.builder.go_on.clear()
        first, second = yard.begin(), yard.begin(ProfileImage(sample=[2]))
        yard.background.cancel(OWNER, second.id)
        yard.builder.go_on.set()
        assert yard.ended(first).state is OperationState.SUCCEEDED
        yard.background._measured.shutdown(wait=True)
        assert yard.builder.sent == [[1]]

    def test_so_many_wait_and_no_more(self, yard: Yard) -> None:
        yard.builder.go_on.clear()
        begun = [yard.begin() for _ in range(MOST_UNENDED)]
        with pytest.raises(
            Conflict, match=r"20 operations \(image.profile, image.replay\)"
        ) as full:
            yard.begin()
        assert "operation cancel" in full.value.hint
        yard.background.cancel(OWNER, begun[-1].id)
        begun.append(yard.begin())
        for operation in begun:
            yard.background.cancel(OWNER, operation.id)
        yard.builder.go_on.set()

    def test_one_that_has_ended_stays(self, yard: Yard) -> None:
        operation = yard.ended(yard.begin())
        assert yard.background.cancel(OWNER, operation.id) == operation

    def test_a_build_leaves_no_version_behind(self, yard: Yard) -> None:
        with yard.database.write() as tx:
            image = add_running_image(tx, "young")
        cancelled = yard.background.cancel(OWNER, image.operation)
        assert cancelled.state is OperationState.CANCELLED
        with yard.database.read() as tx, pytest.raises(NotFound):
            tx.images.get("default", Reference.parse("young"))
        with pytest.raises(Cancelled), yard.background.while_wanted(image.operation):
            pytest.fail("it is not wanted")

    def test_an_image_that_is_built_stays(self, yard: Yard) -> None:
        yard.background.cancel(OWNER, yard.image.operation)
        with yard.database.read() as tx:
            assert tx.images.get("default", Reference.parse("iris")) == yard.image

    def test_other_operations_are_refused(self, yard: Yard) -> None:
        with yard.database.write() as tx:
            update = tx.operations.add(
                "default", OperationKind.SERVICE_UPDATE, "service iris", "owner"
            )
        with pytest.raises(Conflict, match="cannot be cancelled") as refused:
            yard.background.cancel(OWNER, update.id)
        assert "service rollback" in refused.value.hint
        with pytest.raises(NotFound):
            yard.background.cancel(OWNER, uuid4())


def test_a_restart_ends_what_was_being_measured(yard: Yard) -> None:
    with yard.database.write() as tx:
        running = tx.operations.add("default", OperationKind.IMAGE_PROFILE, "image iris:1", "owner")
        build = add_running_image(tx, "young")
    yard.background.resume()
    ended = yard.operations.get(OWNER, running.id)
    assert ended.state is OperationState.FAILED
    assert ended.error is not None
    assert ended.error["details"]["cause"]["code"] == CauseCode.INTERRUPTED
    assert not yard.operations.get(OWNER, build.operation).state.ended
