"""Moving images as operations: what a cancel, a restart and a full registry leave behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from tests.factories import KEY, OWNER, WORKSPACE
from tests.faults.images.hostile_registry import answer, hostile_registry
from tests.integration.images.making import trusted_key
from tests.unit.images.oci.images import Yard

from modelyard.control.background import Background
from modelyard.control.moving import Moving
from modelyard.control.operations import Operations
from modelyard.control.upkeep import Upkeep
from modelyard.domain.image import Image
from modelyard.domain.operation import Operation, OperationKind, OperationState
from modelyard.domain.principal import Principal, Role
from modelyard.domain.values import Reference
from modelyard.errors import Conflict, InvalidRequest, NotFound
from modelyard.images.builder import ImageBuilder
from modelyard.images.layers import LayerCache
from modelyard.schemas import BuildImage, ExportImage, ImageForm, ImportImage, PushImage
from modelyard.settings import Settings
from modelyard.store import Database

CALLER = Principal(id=uuid4(), workspace=WORKSPACE, name=OWNER, role=Role.OWNER)
DIGITS = Reference("digits", 1)


class Harbour:
    """A server's parts that move images, and one image for another platform than this one."""

    def __init__(self, folder: Path) -> None:
        self.yard = Yard(folder / "blobs", python="3.99")
        self.database = Database(f"sqlite:///{folder / 'yard.db'}")
        self.database.migrate()
        self.operations = Operations(self.database)
        self.background = Background(self.database, self.operations)
        builder = ImageBuilder(
            self.yard.blobs,
            LayerCache(folder / "layers"),
            Settings(home=folder),
            trusted_key(folder),
        )
        self.moving = Moving(self.database, self.yard.blobs, self.background, builder)
        self.upkeep = Upkeep(self.database, self.yard.blobs)
        self.image = self._register()

    def _register(self) -> Image:
        manifest = self.yard.manifest
        with self.database.write() as tx:
            operation = tx.operations.add(WORKSPACE, OperationKind.IMAGE_BUILD, "image", OWNER)
            request = BuildImage(name="digits", models=("digits:3",), script="score.py")
            begun = tx.images.take_in(WORKSPACE, request, manifest, operation.id, OWNER)
            return tx.images.succeed(begun.id, manifest, KEY.sign(manifest.digest), [], None)

    def ended(self, operation: Operation) -> Operation:
        while True:
            seen = self.operations.changed.count
            found = self.operations.get(CALLER, operation.id)
            if found.state.ended:
                return found
            self.operations.changed.wait(seen, 10)

    def log(self, operation: Operation) -> str:
        lines = self.operations.log(CALLER, operation.id, 0, 100)
        return "\n".join(line.text for line in lines)

    def upload(self, body: bytes) -> str:
        return self.yard.put(body).digest


@pytest.fixture
def harbour(tmp_path: Path) -> Iterator[Harbour]:
    harbour = Harbour(tmp_path)
    yield harbour
    harbour.background.close()
    harbour.background._others.shutdown(wait=True)
    harbour.database.close()


def download(harbour: Harbour, form: ImageForm = ImageForm.OCI) -> bytes:
    return b"".join(harbour.moving.download(CALLER, DIGITS, form).chunks)


def test_what_was_made_ready_is_not_compressed_again(harbour: Harbour) -> None:
    operation = harbour.moving.export(CALLER, DIGITS, ExportImage())
    assert harbour.ended(operation).state is OperationState.SUCCEEDED
    assert "compressing model" in harbour.log(operation)
    again = harbour.moving.export(CALLER, DIGITS, ExportImage())
    assert harbour.ended(again).result == {"size": len(download(harbour))}
    assert "compressing" not in harbour.log(again)


def test_an_image_for_others_is_taken_in_unchecked(harbour: Harbour) -> None:
    digest = harbour.upload(download(harbour))
    operation = harbour.moving.import_(CALLER, ImportImage(digest=digest, name="copy"))
    ended = harbour.ended(operation)
    assert ended.result == {"image": "copy:1", "reused": False}
    assert "not checked" in harbour.log(operation)
    with harbour.database.read() as tx:
        image = tx.images.get(WORKSPACE, Reference("copy", 1))
    assert (image.digest, image.check) == (harbour.image.digest, None)
    assert [package.name for package in image.packages] == ["one-two"]


def test_the_same_image_is_the_one_that_is_here(harbour: Harbour) -> None:
    digest = harbour.upload(download(harbour, ImageForm.DOCKER))
    operation = harbour.moving.import_(CALLER, ImportImage(digest=digest))
    assert harbour.ended(operation).result == {"image": "digits:1", "reused": True}


def test_what_is_no_image_leaves_none(harbour: Harbour) -> None:
    digest = harbour.upload(b"nonsense" * 1000)
    operation = harbour.moving.import_(CALLER, ImportImage(digest=digest, name="none"))
    ended = harbour.ended(operation)
    assert ended.state is OperationState.FAILED
    assert ended.error is not None
    assert "no tar" in ended.error["message"]
    with harbour.database.read() as tx, pytest.raises(NotFound):
        tx.images.get(WORKSPACE, Reference("none", 1))


def test_what_was_not_uploaded_is_refused_at_once(harbour: Harbour) -> None:
    with pytest.raises(NotFound):
        harbour.moving.import_(CALLER, ImportImage(digest=f"sha256:{'0' * 64}"))


@pytest.mark.parametrize("to", ["https://x/y", f"host.example/a@sha256:{'0' * 64}", "A b"])
def test_where_nothing_can_be_pushed_to(harbour: Harbour, to: str) -> None:
    with pytest.raises(InvalidRequest):
        harbour.moving.push(CALLER, DIGITS, PushImage(to=to))


def test_a_push_that_is_cancelled_ends(harbour: Harbour) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def script(head: str, client: object) -> None:
        asked.set()
        go_on.wait(10)
        client.sendall(answer("404 Not Found"))  # type: ignore[attr-defined]

    with hostile_registry(script) as host:
        operation = harbour.moving.push(CALLER, DIGITS, PushImage(to=f"{host}/a:1"))
        assert asked.wait(30)
        cancelled = harbour.background.cancel(CALLER, operation.id)
        go_on.set()
        assert cancelled.state is OperationState.CANCELLED
        harbour.background._others.shutdown(wait=True)
    assert harbour.ended(operation).state is OperationState.CANCELLED
    assert "uploaded" not in harbour.log(operation)
    assert f"cancelled by {CALLER.name}" in harbour.log(operation)


def test_a_registry_that_is_full(harbour: Harbour) -> None:
    def script(head: str, client: object) -> None:
        status = "404 Not Found" if head.startswith("HEAD") else "507 Insufficient Storage"
        client.sendall(answer(status))  # type: ignore[attr-defined]

    with hostile_registry(script) as host:
        operation = harbour.moving.push(CALLER, DIGITS, PushImage(to=f"{host}/a:1"))
        ended = harbour.ended(operation)
    assert ended.error is not None
    assert "has no room" in ended.error["message"]


@pytest.mark.parametrize(
    "kind", [OperationKind.IMAGE_PUSH, OperationKind.IMAGE_PULL, OperationKind.IMAGE_IMPORT]
)
def test_a_restart_ends_what_was_moved(harbour: Harbour, kind: OperationKind) -> None:
    with harbour.database.write() as tx:
        operation = tx.operations.add(WORKSPACE, kind, "image digits:1", OWNER)
    harbour.background.resume()
    ended = harbour.operations.get(CALLER, operation.id)
    assert ended.state is OperationState.FAILED
    assert ended.error is not None
    assert "restarted" in ended.error["message"]


def test_what_has_no_base_is_refused_at_once(harbour: Harbour) -> None:
    manifest = harbour.yard.manifest.model_copy(update={"base": None})
    with harbour.database.write() as tx:
        operation = tx.operations.add(WORKSPACE, OperationKind.IMAGE_BUILD, "image", OWNER)
        request = BuildImage(name="bare", models=(), script="score.py")
        begun = tx.images.take_in(WORKSPACE, request, manifest, operation.id, OWNER)
        tx.images.succeed(begun.id, manifest, KEY.sign(manifest.digest), [], None)
    with pytest.raises(Conflict, match="has no base"):
        harbour.moving.export(CALLER, Reference("bare", 1), ExportImage())
    with pytest.raises(Conflict, match="has no base"):
        harbour.moving.push(CALLER, Reference("bare", 1), PushImage(to="127.0.0.1:1/a"))
