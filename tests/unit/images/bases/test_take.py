"""Taking a base from a layout: what is right is stored as it is, what is wrong leaves nothing."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.layouts import Layout, digest_of, program, python_files, tar

from modelyard.blobs.local import LocalBlobs
from modelyard.domain.image import Platform
from modelyard.errors import BuildFailed, InvalidRequest
from modelyard.images.bases import choice
from modelyard.images.bases import take as taking
from modelyard.images.bases.choice import Bases
from modelyard.images.bases.ground import Ground
from modelyard.images.known import KnownLayers
from modelyard.images.layers import LayerCache
from modelyard.images.oci import compression

AMD, ARM = (Platform(os="linux", architecture=name) for name in ("amd64", "arm64"))


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "layout")


class Shelf:
    def __init__(self, home: Path) -> None:
        self.blobs = LocalBlobs(home / "blobs")
        known = KnownLayers(home / "known", self.blobs)
        self.bases = Bases(self.blobs, LayerCache(home / "layers"), known)

    def find(self, layout: Layout, platform: Platform = AMD) -> Ground:
        return self.bases.find(str(layout.folder), platform)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "home")


def evidence(shelf: Shelf, base: object, platform: Platform = AMD) -> str:
    """Why a base was refused; nothing of it must be left."""
    with pytest.raises(BuildFailed) as caught:
        shelf.bases.find(str(base), platform)
    cause = caught.value.details["cause"]
    assert cause["code"] == "base_unsuitable"
    return str(cause["evidence"][0])


class TestTake:
    def test_its_layers_are_stored_as_they_are(self, layout: Layout, shelf: Shelf) -> None:
        system, python = tar({"etc/": None}), tar(python_files())
        digest = layout.add([system, python])
        ground = shelf.find(layout)
        base = ground.base
        assert base is not None
        assert (base.origin, base.digest) == ("image", digest)
        assert base.python == "/usr/local/bin/python3.11"
        assert base.environment == {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
        assert [layer.diff_id for layer in base.layers] == [digest_of(system), digest_of(python)]
        for layer in base.layers:
            content = b"".join(shelf.blobs.open(layer.digest))
            assert (layer.digest, layer.size) == (digest_of(content), len(content))
        assert (ground.interpreter.python, ground.interpreter.platform) == ("3.11", AMD)

    def test_a_folder_and_a_tar_of_it_are_one_base(
        self, layout: Layout, shelf: Shelf, tmp_path: Path
    ) -> None:
        layout.add([tar(python_files())])
        archive = layout.as_tar(tmp_path / "base.tar")
        assert shelf.bases.find(str(archive), AMD) == shelf.find(layout)
        assert shelf.bases.key(str(archive), AMD) == shelf.bases.key(str(layout.folder), AMD)

    def test_the_image_for_the_platform_is_taken(self, layout: Layout, shelf: Shelf) -> None:
        one = layout.add([tar(python_files("3.12"))])
        other = layout.add([tar(python_files("3.12", "arm64"))], "arm64")
        for platform, digest in ((AMD, one), (ARM, other)):
            found = shelf.find(layout, platform)
            assert found.base is not None
            assert (found.base.digest, found.interpreter.platform) == (digest, platform)

    def test_an_index_may_name_an_index(self, layout: Layout, shelf: Shelf) -> None:
        layout.add([tar(python_files())])
        inner = {"schemaVersion": 2, "manifests": layout.manifests}
        kind = "application/vnd.oci.image.index.v1+json"
        layout.manifests = [layout.put(json.dumps(inner).encode(), kind)]
        layout.write_index()
        assert shelf.find(layout).interpreter.python == "3.11"

    def test_layers_may_be_plain_or_gzip_in_pieces(self, layout: Layout, shelf: Shelf) -> None:
        layout.add([tar(python_files())], compress=False)
        assert shelf.find(layout).interpreter.python == "3.11"
        content = tar(python_files())
        pieces = gzip.compress(content[:1000]) + gzip.compress(content[1000:])
        layout.manifests.clear()
        layout.add([content], blobs=[pieces])
        assert shelf.find(layout).interpreter.python == "3.11"

    def test_the_second_time_nothing_is_read_again(
        self, layout: Layout, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        layout.add([tar(python_files())])
        first = shelf.find(layout)
        monkeypatch.setattr(choice, "take", None)
        assert shelf.find(layout) == first


Damage = Callable[[Layout, Any], None]


def _without(name: str) -> Damage:
    def damage(layout: Layout, manifest: Any) -> None:
        digest = manifest["config" if name == "config" else "layers"]
        one = digest if name == "config" else digest[0]
        (layout.folder / "blobs" / "sha256" / one["digest"].removeprefix("sha256:")).unlink()

    return damage


def _overwrite(content: bytes) -> Damage:
    def damage(layout: Layout, manifest: Any) -> None:
        name = manifest["layers"][0]["digest"].removeprefix("sha256:")
        (layout.folder / "blobs" / "sha256" / name).write_bytes(content)

    return damage


def _same_length(layout: Layout, manifest: Any) -> None:
    name = manifest["layers"][0]["digest"].removeprefix("sha256:")
    path = layout.folder / "blobs" / "sha256" / name
    path.write_bytes(gzip.compress(tar(python_files()), mtime=1)[: path.stat().st_size])


def _pipe(layout: Layout, manifest: Any) -> None:
    name = manifest["layers"][0]["digest"].removeprefix("sha256:")
    path = layout.folder / "blobs" / "sha256" / name
    path.unlink()
    os.mkfifo(path)


def _link(layout: Layout, manifest: Any) -> None:
    name = manifest["layers"][0]["digest"].removeprefix("sha256:")
    path = layout.folder / "blobs" / "sha256" / name
    path.rename(layout.folder / "elsewhere")
    path.symlink_to(layout.folder / "elsewhere")


class TestRefused:
    @pytest.mark.parametrize(
        ("damage", "why"),
        [
            (_without("layer"), "has no file `blobs/sha256/"),
            (_without("config"), "has no file `blobs/sha256/"),
            (_overwrite(b"other"), "has 5 bytes, not"),
            (_same_length, "arrived as sha256:"),
            (_pipe, "has no file `blobs/sha256/"),
            (_link, "has no file `blobs/sha256/"),
        ],
    )
    def test_blobs_that_are_not_what_they_are_called(
        self, layout: Layout, shelf: Shelf, damage: Damage, why: str
    ) -> None:
        digest = layout.add([tar(python_files())])
        path = layout.folder / "blobs" / "sha256" / digest.removeprefix("sha256:")
        damage(layout, json.loads(path.read_bytes()))
        assert why in evidence(shelf, layout.folder)
        assert list(shelf.blobs.walk()) == []

    def test_no_layout_at_all(self, shelf: Shelf, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"no tar" * 200)
        assert "No such file" in evidence(shelf, tmp_path / "nothing")
        assert "is no tar archive" in evidence(shelf, tmp_path / "file")
        assert "is no OCI image layout" in evidence(shelf, tmp_path)

    @pytest.mark.parametrize("name", ["", "Upper/Case", "../up", "a b", "-x", "x@sha256:1"])
    def test_names_of_nothing(self, shelf: Shelf, name: str) -> None:
        with pytest.raises(InvalidRequest, match="is not the name of an image"):
            shelf.bases.pin(name)

    @pytest.mark.parametrize(
        "change",
        [
            {"digest": "sha256:../../../etc/passwd"},
            {"digest": "sha256:" + "A" * 64},
            {"size": -1},
            {"size": 1 << 50},
        ],
    )
    def test_names_that_climb_and_sizes_that_lie(
        self, layout: Layout, shelf: Shelf, change: dict[str, Any]
    ) -> None:
        layout.add([tar(python_files())])
        layout.manifests[0] |= change
        layout.write_index()
        assert "the index of the image is not acceptable" in evidence(shelf, layout.folder)

    def test_another_platform(self, layout: Layout, shelf: Shelf) -> None:
        layout.add([tar(python_files("3.11", "arm64"))], "arm64")
        assert "no image for linux/amd64: it has linux/arm64" in evidence(shelf, layout.folder)

    def test_a_configuration_for_another_platform(self, layout: Layout, shelf: Shelf) -> None:
        layout.add([tar(python_files())], "arm64", platform=False)
        assert "is for linux/arm64, not for linux/amd64" in evidence(shelf, layout.folder)

    def test_a_program_for_another_platform_than_it_is_said(
        self, layout: Layout, shelf: Shelf
    ) -> None:
        layout.add([tar(python_files("3.11", "arm64"))])
        assert "is a program for arm64" in evidence(shelf, layout.folder)

    def test_a_python_that_is_too_old(self, layout: Layout, shelf: Shelf) -> None:
        layout.add([tar(python_files("3.8"))])
        assert "is Python 3.8, and the runtime needs >=3.11" in evidence(shelf, layout.folder)

    def test_no_python(self, layout: Layout, shelf: Shelf) -> None:
        layout.add([tar({"bin/sh": program()})])
        assert evidence(shelf, layout.folder) == "there is no Python 3 in it"

    def test_several_images_for_one_platform(self, layout: Layout, shelf: Shelf) -> None:
        layout.add([tar(python_files("3.11"))])
        layout.add([tar(python_files("3.12"))])
        assert "several images for linux/amd64" in evidence(shelf, layout.folder)

    def test_indexes_without_end(self, layout: Layout, shelf: Shelf) -> None:
        kind = "application/vnd.oci.image.index.v1+json"
        descriptor = layout.put(b'{"manifests": []}', kind)
        for _ in range(5):
            descriptor = layout.put(json.dumps({"manifests": [descriptor]}).encode(), kind)
        layout.manifests = [descriptor]
        layout.write_index()
        assert "is no image that can be read here" in evidence(shelf, layout.folder)

    def test_layers_that_are_not_those_of_the_configuration(
        self, layout: Layout, shelf: Shelf
    ) -> None:
        other = {"diff_ids": ["sha256:" + "0" * 64]}
        layout.add([tar(python_files())], rootfs=other)
        assert "and not sha256:0000" in evidence(shelf, layout.folder)

    def test_more_layers_than_the_configuration_has(self, layout: Layout, shelf: Shelf) -> None:
        layout.add([tar(python_files())], rootfs={"diff_ids": []})
        assert "1 layers, but 0 digests of them" in evidence(shelf, layout.folder)

    def test_compression_that_nobody_here_can_undo(self, layout: Layout, shelf: Shelf) -> None:
        digest = layout.add([tar(python_files())])
        path = layout.folder / "blobs" / "sha256" / digest.removeprefix("sha256:")
        manifest = json.loads(path.read_bytes())
        manifest["layers"][0]["mediaType"] = "application/vnd.oci.image.layer.v1.tar+zstd"
        layout.manifests = [layout.put(json.dumps(manifest).encode(), manifest["mediaType"])]
        layout.write_index()
        assert "tar+zstd" in evidence(shelf, layout.folder)

    def test_variables_that_are_none(self, layout: Layout, shelf: Shelf) -> None:
        layout.add([tar(python_files())], env=["A B=c"])
        assert "sets `A B=c`, which is no variable" in evidence(shelf, layout.folder)

    def test_a_bomb(self, layout: Layout, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(compression, "_FREE", 1 << 20)
        layout.add([tar(python_files() | {"zeros": bytes(16 << 20)})])
        assert "more comes out of the compressed layer" in evidence(shelf, layout.folder)
        assert list(shelf.blobs.walk()) == []

    def test_too_many_members(
        self, layout: Layout, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(taking, "_MOST_MEMBERS", 3)
        layout.add([tar(python_files())])
        assert "more than 3 members" in evidence(shelf, layout.folder)

    def test_a_layer_that_ends_in_the_middle(self, layout: Layout, shelf: Shelf) -> None:
        content = tar(python_files())
        cut = gzip.compress(content)[:-20]
        layout.add([content], blobs=[cut])
        assert "breaks off" in evidence(shelf, layout.folder)

    def test_this_hosts_python_for_another_platform(self, shelf: Shelf) -> None:
        other = Platform(os="linux", architecture="riscv64")
        with pytest.raises(InvalidRequest, match="cannot stand on this host's Python") as caught:
            shelf.bases.key("host", other)
        assert "--base" in caught.value.hint
