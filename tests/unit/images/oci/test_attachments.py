"""Signatures and SBOMs as OCI artifacts, out and in again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.factories import KEY, digest_of
from tests.unit.images.oci.layouts import LayoutFolder

from modelyard.domain.signature import statement
from modelyard.errors import IntegrityError
from modelyard.images.oci.attachments import (
    ATTACHMENTS,
    SBOM,
    SIGNATURE,
    artifact,
    attachments,
    listed,
    read_signature,
)
from modelyard.images.oci.documents import EMPTY, MANIFEST, Descriptor, choose, read_index
from modelyard.images.oci.layout import open_layout
from modelyard.images.signing import is_valid

IMAGE = digest_of("image")
DOCUMENT = b'{"bomFormat": "CycloneDX"}'
SIGNED = KEY.sign(IMAGE, f"sha256:{hashlib.sha256(DOCUMENT).hexdigest()}")
SUBJECT = Descriptor(media_type=MANIFEST, digest=digest_of("manifest"), size=7)


def test_a_signature_carries_the_very_statement_that_was_signed() -> None:
    (signature, sbom) = attachments(IMAGE, SIGNED, DOCUMENT)
    assert (signature.type, sbom.type, sbom.content) == (SIGNATURE, SBOM, DOCUMENT)
    said = json.loads(signature.content)["statement"]
    assert said.encode() == statement(IMAGE, SIGNED.key, SIGNED.sbom)
    image, read = read_signature(signature.content)
    assert (image, read) == (IMAGE, SIGNED)
    assert is_valid(image, read, KEY.public)


def test_what_is_not_there_is_left_out() -> None:
    assert attachments(IMAGE, None, None) == ()
    (alone,) = attachments(IMAGE, KEY.sign(IMAGE), None)
    assert read_signature(alone.content) == (IMAGE, KEY.sign(IMAGE))


def test_an_artifact_refers_to_its_subject_and_is_always_the_same() -> None:
    (signature, _) = attachments(IMAGE, SIGNED, DOCUMENT)
    made = artifact(signature, SUBJECT)
    assert made == artifact(signature, SUBJECT)
    document = json.loads(made.manifest.content)
    assert document["artifactType"] == SIGNATURE
    assert document["config"]["mediaType"] == EMPTY
    assert document["subject"] == {
        "mediaType": MANIFEST,
        "digest": SUBJECT.digest,
        "size": SUBJECT.size,
    }
    promised = [document["config"], *document["layers"]]
    for blob, one in zip(made.blobs, promised, strict=True):
        assert one["digest"] == f"sha256:{hashlib.sha256(blob.content).hexdigest()}"
        assert one["size"] == len(blob.content)


def test_an_artifact_in_an_index_is_not_taken_for_the_image() -> None:
    made = [artifact(one, SUBJECT).manifest for one in attachments(IMAGE, SIGNED, DOCUMENT)]
    entries = [SUBJECT, *(one.descriptor for one in made)]
    body = {
        "schemaVersion": 2,
        "manifests": [one.model_dump(by_alias=True, exclude_none=True) for one in entries],
    }
    index = read_index(json.dumps(body).encode(), None)
    assert choose(index, None, "here").digest == SUBJECT.digest


class TestLayout:
    @pytest.fixture
    def layout(self, tmp_path: Path) -> LayoutFolder:
        return LayoutFolder(tmp_path / "layout")

    def write(self, layout: LayoutFolder, *, in_annotation: bool, **changes: str) -> Descriptor:
        """A layout with an image and its attachments; the descriptor of the image."""
        placed = layout.image()
        subject = Descriptor.model_validate(placed)
        made = [artifact(one, subject) for one in attachments(IMAGE, SIGNED, DOCUMENT)]
        for one in made:
            for blob in (one.manifest, *one.blobs):
                layout.put(blob.content)
        index: dict[str, Any] = {"schemaVersion": 2, "manifests": [placed]}
        if in_annotation:
            index["annotations"] = {ATTACHMENTS: listed(made), **changes}
        else:
            index["manifests"] += json.loads(listed(made))
        (layout.root / "index.json").write_text(json.dumps(index))
        return subject

    @pytest.mark.parametrize("in_annotation", [True, False])
    def test_keeps_them_beside_the_image(self, layout: LayoutFolder, in_annotation: bool) -> None:
        subject = self.write(layout, in_annotation=in_annotation)
        opened = open_layout(layout.root)
        opened.check_complete()
        assert opened.find(None).descriptor.digest == subject.digest
        assert opened.attachments(subject) == list(attachments(IMAGE, SIGNED, DOCUMENT))
        other = subject.model_copy(update={"digest": digest_of("other")})
        assert opened.attachments(other) == []

    @pytest.mark.parametrize("text", ["", "{}", "[1]", "[" * 90_000, '[{"mediaType": "x"}]'])
    def test_a_list_that_is_none_is_refused(self, layout: LayoutFolder, text: str) -> None:
        self.write(layout, in_annotation=True, **{ATTACHMENTS: text})
        with pytest.raises(IntegrityError):
            open_layout(layout.root)


def changed(**changes: Any) -> bytes:
    """A signature whose statement was changed, written as it ought to be written."""
    said = {**json.loads(statement(IMAGE, SIGNED.key, SIGNED.sbom)), **changes}
    text = json.dumps(said, sort_keys=True, separators=(",", ":"))
    return json.dumps({"statement": text, "signature": SIGNED.value}).encode()


def with_statement(change: Callable[[str], str]) -> bytes:
    said = statement(IMAGE, SIGNED.key, SIGNED.sbom).decode()
    return json.dumps({"statement": change(said), "signature": SIGNED.value}).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff",
        b"[" * 100_000,
        b'{"statement": 1, "signature": "x"}',
        b'{"statement": "[]", "signature": "x"}',
        changed(type="something.else"),
        changed(key="sha256:1"),
        changed(sbom=7),
        changed(image=None),
        changed(more="of it"),
        with_statement(lambda said: f" {said}"),
        with_statement(lambda said: said.replace('"image"', '"image":"x","image"')),
    ],
)
def test_anything_else_is_refused(content: bytes) -> None:
    with pytest.raises(IntegrityError):
        read_signature(content)


def test_a_signature_of_another_image_is_not_valid_for_this_one() -> None:
    image, read = read_signature(changed(image=digest_of("other")))
    assert image == digest_of("other")
    assert not is_valid(image, read, KEY.public)
