"""Bases in a real registry: a tag gets its digest once, and where a base lay does not show."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.registry.debian import DebianRegistry, debian_registry
from tests.layouts import Layout, python_files, tar

from modelyard.blobs.local import LocalBlobs
from modelyard.domain.image import Platform
from modelyard.errors import BuildFailed
from modelyard.images.bases.choice import Bases
from modelyard.images.known import KnownLayers
from modelyard.images.layers import LayerCache
from modelyard.images.oci.documents import Descriptor
from modelyard.images.oci.layout import open_layout
from modelyard.images.oci.source import document
from modelyard.images.registry.client import Repository
from modelyard.images.registry.uploads import push_blob, push_manifest

AMD = Platform(os="linux", architecture="amd64")


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[DebianRegistry]:
    with debian_registry(tmp_path) as running:
        yield running


def push(layout: Layout, name: str) -> None:
    """Push the one image of a layout."""
    source = open_layout(layout.folder)
    found = source.find(AMD)
    with Repository(name, "pull,push") as repository:
        for blob in (found.manifest.config, *found.manifest.layers):
            body = b"".join(source.open(blob))
            push_blob(repository, blob, lambda at, length, body=body: body[at : at + length])  # type: ignore[misc]
        push_manifest(repository, found.descriptor, document(source, found.descriptor))


def make_layout(folder: Path, *, version: str) -> Layout:
    layout = Layout(folder)
    layout.add([tar({"etc/": None}), tar(python_files(version))])
    return layout


def make_bases(home: Path) -> Bases:
    blobs = LocalBlobs(home / "blobs")
    return Bases(blobs, LayerCache(home / "layers"), KnownLayers(home / "known", blobs))


def test_a_tag_is_resolved_once_and_then_the_digest_counts(
    registry: DebianRegistry, tmp_path: Path
) -> None:
    old = make_layout(tmp_path / "old", version="3.12")
    name, bases = f"{registry.host}/team/python:3", make_bases(tmp_path / "home")
    push(old, name)
    pinned = bases.pin(name)
    assert pinned == f"{name}@{old.manifests[0]['digest']}"
    push(make_layout(tmp_path / "new", version="3.13"), name)
    ground = bases.find(pinned, AMD)
    assert ground.interpreter.python == "3.12"
    assert ground == make_bases(tmp_path / "other").find(str(old.folder), AMD)
    assert bases.pin(pinned) == pinned
    assert bases.pin(name) != pinned


def test_a_base_that_is_known_needs_no_registry(tmp_path: Path) -> None:
    bases = make_bases(tmp_path / "home")
    folder = tmp_path / "running"
    folder.mkdir()
    with debian_registry(folder) as registry:
        name = f"{registry.host}/python:3"
        push(make_layout(tmp_path / "layout", version="3.12"), name)
        pinned = bases.pin(name)
        ground = bases.find(pinned, AMD)
    assert bases.find(pinned, AMD) == ground


def test_what_is_not_there_is_said(registry: DebianRegistry, tmp_path: Path) -> None:
    bases = make_bases(tmp_path / "home")
    with pytest.raises(BuildFailed) as caught:
        bases.pin(f"{registry.host}/nobody/python:3")
    cause = caught.value.details["cause"]
    assert cause["code"] == "base_unsuitable"
    assert "nobody/python" in cause["evidence"][0]


def test_a_layer_that_was_lost_leaves_nothing(registry: DebianRegistry, tmp_path: Path) -> None:
    layout = make_layout(tmp_path / "layout", version="3.12")
    name, bases = f"{registry.host}/python:3", make_bases(tmp_path / "home")
    push(layout, name)
    pinned = bases.pin(name)
    layer: Descriptor = open_layout(layout.folder).find(AMD).manifest.layers[1]
    digest = layer.digest.removeprefix("sha256:")
    (registry.root / "docker/registry/v2/blobs/sha256" / digest[:2] / digest / "data").write_bytes(
        b"something else"
    )
    with pytest.raises(BuildFailed):
        bases.find(pinned, AMD)
    assert LocalBlobs(tmp_path / "home" / "blobs").exists(layer.digest) is False
