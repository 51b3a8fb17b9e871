"""What is said of an image of which something was changed, taken away or put in its place."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from tests.factories import KEY, digest_of

from modelyard.blobs.base import Stored
from modelyard.blobs.local import LocalBlobs
from modelyard.domain.image import (
    Base,
    BaseLayer,
    Image,
    ImageState,
    Layer,
    LayerKind,
    Manifest,
    Platform,
)
from modelyard.images.signing import SigningKey, TrustedKeys
from modelyard.images.verification import verify


def put(blobs: LocalBlobs, content: bytes) -> Stored:
    with blobs.writer() as writer:
        writer.write(content)
        return writer.commit()


class Store:
    """An image with everything that belongs to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.blobs = LocalBlobs(folder / "blobs")
        self.trusted = TrustedKeys(folder / "trusted")
        self.trusted.add(KEY.public)
        layers = {kind: put(self.blobs, f"layer {kind}".encode()) for kind in LayerKind}
        base = put(self.blobs, b"base")
        self.manifest = Manifest(
            platform=Platform(os="linux", architecture="amd64"),
            python="3.11",
            models=(),
            lock=digest_of("lock"),
            base=Base(
                origin="image",
                digest=digest_of("base"),
                python="/bin/python3",
                layers=(
                    BaseLayer(
                        digest=base.digest,
                        size=base.size,
                        media_type="application/x",
                        diff_id=base.digest,
                    ),
                ),
            ),
            layers=tuple(
                Layer(kind=kind, digest=one.digest, size=one.size) for kind, one in layers.items()
            ),
        )
        self.sbom = put(self.blobs, b"{}").digest
        self.image = Image(
            id=uuid4(),
            workspace="default",
            name="digits",
            version=1,
            state=ImageState.SUCCEEDED,
            digest=self.manifest.digest,
            manifest=self.manifest,
            signature=KEY.sign(self.manifest.digest, self.sbom),
            models=(),
            script=None,
            requirements=(),
            operation=uuid4(),
            created_at=datetime.now(UTC),
            created_by="owner",
        )

    def problems(self, manifest: Manifest | None = None, **changes: object) -> dict[str, str]:
        image = self.image.model_copy(update=changes)
        parts = verify(image, manifest or self.manifest, self.blobs, self.trusted)
        return {part.part: part.problem for part in parts if part.problem is not None}

    def replace(self, digest: str, content: bytes) -> None:
        """Change bytes behind the store's back."""
        (path,) = (p for p in (self.folder / "blobs").rglob(f"*{digest[-40:]}*") if p.is_file())
        path.chmod(0o644)
        path.write_bytes(content)

    def layer(self, kind: LayerKind) -> str:
        return self.manifest.layer(kind).digest


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_nothing_is_wrong_with_an_image_as_it_was_built(store: Store) -> None:
    parts = list(verify(store.image, store.manifest, store.blobs, store.trusted))
    assert [part.part for part in parts] == [
        "manifest",
        "signature",
        "sbom",
        "layer environment",
        "layer runtime",
        "layer code",
        "layer model",
        "base layer 0",
    ]
    assert store.problems() == {}


@pytest.mark.parametrize("kind", LayerKind)
def test_a_layer_with_other_bytes_is_found(store: Store, kind: LayerKind) -> None:
    content = f"layer {kind}".encode()
    store.replace(store.layer(kind), b"L" + content[1:])
    (found,) = store.problems().items()
    assert found[0] == f"layer {kind}"
    assert found[1].startswith("it hashes to sha256:")


def test_a_layer_that_was_cut_off_or_is_gone_is_found(store: Store) -> None:
    store.replace(store.layer(LayerKind.MODEL), b"layer")
    store.blobs.delete(store.layer(LayerKind.CODE))
    assert store.problems() == {
        "layer model": "it has 5 bytes instead of 11",
        "layer code": "it is not stored",
    }


def test_a_base_or_an_sbom_with_other_bytes_is_found(store: Store) -> None:
    assert store.manifest.base is not None
    store.replace(store.manifest.base.layers[0].digest, b"BASE")
    store.replace(store.sbom, b"[]")
    assert store.problems().keys() == {"sbom", "base layer 0"}


def test_a_manifest_that_was_changed_is_found_twice(store: Store) -> None:
    """By the digest that is remembered, and by the signature if that was changed with it."""
    changed = store.manifest.model_copy(update={"script": "evil.py"})
    assert store.problems(changed).keys() == {"manifest", "signature"}
    assert store.problems(changed, digest=changed.digest).keys() == {"signature"}


def test_another_sbom_cannot_be_put_in_the_place_of_the_signed_one(store: Store) -> None:
    other = put(store.blobs, b'{"components": []}').digest
    assert store.image.signature is not None
    signature = store.image.signature.model_copy(update={"sbom": other})
    assert store.problems(signature=signature).keys() == {"signature"}


def test_a_signature_that_is_missing_or_of_a_foreign_key_is_found(store: Store) -> None:
    assert "has no signature" in store.problems(signature=None)["signature"]
    foreign = SigningKey.generate()
    signature = foreign.sign(store.manifest.digest, store.sbom)
    assert foreign.public.id in store.problems(signature=signature)["signature"]
