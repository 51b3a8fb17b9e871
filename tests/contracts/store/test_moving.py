"""What is remembered of images on the move, on whatever database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tests.factories import (
    KEY,
    OWNER,
    WORKSPACE,
    add_blob,
    add_image,
    add_model,
    digest_of,
    make_manifest,
)

from modelyard.blobs.base import Stored
from modelyard.domain.image import Image, ImageState, ModelMount
from modelyard.domain.operation import OperationKind, OperationState
from modelyard.domain.values import Reference
from modelyard.schemas import BuildImage
from modelyard.store import Transaction


def later() -> datetime:
    return datetime.now(UTC) + timedelta(days=2)


class TestCompressed:
    def test_is_found_by_its_layer(self, tx: Transaction) -> None:
        layer = add_blob(tx, "layer")
        assert tx.compressed.find(layer) is None
        tx.compressed.put(layer, Stored(digest_of("gzip"), 4))
        assert tx.compressed.find(layer) == Stored(digest_of("gzip"), 4)
        tx.compressed.put(layer, Stored(digest_of("other"), 5))
        assert tx.compressed.find(layer) == Stored(digest_of("other"), 5)

    def test_is_held(self, tx: Transaction) -> None:
        layer = add_blob(tx, "layer")
        tx.compressed.put(layer, Stored(digest_of("gzip"), 4))
        assert digest_of("gzip") not in tx.blobs.unreferenced(later())

    def test_goes_with_its_layer(self, tx: Transaction) -> None:
        layer = add_blob(tx, "layer")
        tx.compressed.put(layer, Stored(digest_of("gzip"), 4))
        for hours in (0, 1):
            doomed = tx.blobs.collect(later() + timedelta(hours=hours))
        assert doomed == [layer]
        tx.blobs.forget(doomed)
        assert tx.compressed.find(layer) is None
        assert digest_of("gzip") in tx.blobs.unreferenced(later())

    def test_expires(self, tx: Transaction) -> None:
        layer = add_blob(tx, "layer")
        tx.compressed.put(layer, Stored(digest_of("gzip"), 4))
        tx.compressed.expire(datetime.now(UTC) - timedelta(hours=1))
        assert tx.compressed.find(layer) is not None
        tx.compressed.expire(datetime.now(UTC) + timedelta(hours=1))
        assert tx.compressed.find(layer) is None


def take_in(tx: Transaction, name: str = "digits") -> Image:
    mount = ModelMount(name="elsewhere", version=4, path="elsewhere/4")
    manifest = make_manifest().model_copy(update={"models": (mount,)})
    operation = tx.operations.add(WORKSPACE, OperationKind.IMAGE_IMPORT, "image", OWNER)
    request = BuildImage(name=name, models=("elsewhere:4",), script="score.py", tags={"a": "b"})
    begun = tx.images.take_in(WORKSPACE, request, manifest, operation.id, OWNER)
    return tx.images.succeed(begun.id, manifest, KEY.sign(manifest.digest), [], None)


class TestTakeIn:
    def test_is_an_image_like_others(self, tx: Transaction) -> None:
        built = add_image(tx, "digits")
        image = take_in(tx)
        assert (built.reference, image.reference) == ("digits:1", "digits:2")
        assert image.state is ImageState.SUCCEEDED
        assert (image.models, image.script, image.tags) == (
            ("elsewhere:4",),
            "score.py",
            {"a": "b"},
        )
        assert tx.images.get(WORKSPACE, Reference("digits", 2)) == image
        assert tx.operations.get(WORKSPACE, image.operation).resource == "image digits:2"

    def test_holds_its_layers(self, tx: Transaction) -> None:
        image = take_in(tx)
        assert image.manifest is not None
        assert not set(image.manifest.stored) & set(tx.blobs.unreferenced(later()))

    def test_holds_no_model_of_the_same_name(self, tx: Transaction) -> None:
        for _ in range(4):
            model = add_model(tx, "elsewhere")
        take_in(tx)
        tx.models.delete(WORKSPACE, Reference.parse(model.reference))

    def test_is_found_by_its_digest_and_name(self, tx: Transaction) -> None:
        image = take_in(tx)
        assert image.digest is not None
        assert tx.images.find_built(WORKSPACE, image.digest, "digits") == image
        assert tx.images.find_built(WORKSPACE, image.digest, "other") is None
        assert tx.images.find_built(WORKSPACE, digest_of("x"), "digits") is None

    def test_is_deleted_like_others(self, tx: Transaction) -> None:
        image = take_in(tx)
        tx.images.delete(WORKSPACE, Reference.parse(image.reference))
        assert image.digest is not None
        assert tx.images.find_built(WORKSPACE, image.digest, "digits") is None


@pytest.mark.parametrize(
    "kind",
    [
        OperationKind.IMAGE_EXPORT,
        OperationKind.IMAGE_IMPORT,
        OperationKind.IMAGE_PUSH,
        OperationKind.IMAGE_PULL,
    ],
)
def test_operations_of_every_kind_are_kept(tx: Transaction, kind: OperationKind) -> None:
    operation = tx.operations.add(WORKSPACE, kind, "image digits:1", OWNER)
    tx.operations.finish(operation.id, OperationState.SUCCEEDED, None, {"image": "digits:1"})
    assert tx.operations.get(WORKSPACE, operation.id).kind is kind
