"""Taking in images: what was exported comes in again, and nothing else does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.factories import KEY
from tests.unit.images.oci.images import Yard, digest_of, files_of, tar_of

from modelyard.blobs.local import LocalBlobs
from modelyard.domain.image import LayerKind, Manifest, Package
from modelyard.errors import IntegrityError, InvalidRequest, ModelyardError
from modelyard.images.layers import file_from_bytes, tar_chunks
from modelyard.images.oci.attachments import kept_beside
from modelyard.images.oci.compression import compressed
from modelyard.images.oci.documents import CONFIG, LAYER, LAYER_GZIP, MANIFEST, to_json
from modelyard.images.oci.forms import docker_archive, oci_archive
from modelyard.images.oci.intake import carried_in, packages_in, read_manifest, store_layers
from modelyard.images.oci.labels import sample_in
from modelyard.images.oci.rendering import last_tar


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    return Yard(tmp_path / "blobs")


@pytest.fixture
def empty(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(tmp_path / "empty")


def take_in(archive: Any, blobs: LocalBlobs) -> Manifest:
    carried = carried_in(files_of(archive))
    manifest = read_manifest(carried)
    store_layers(carried, manifest, blobs, lambda digest, size: None, lambda line: None)
    return manifest


class TestRoundTrip:
    @pytest.mark.parametrize("form", ["oci", "docker"])
    def test_comes_in_as_it_left(self, yard: Yard, empty: LocalBlobs, form: str) -> None:
        archive = (
            oci_archive(yard.image(), yard.blobs, yard.gzip)
            if form == "oci"
            else docker_archive(yard.image(), yard.blobs)
        )
        manifest = take_in(archive, empty)
        assert manifest == yard.manifest
        assert {blob.digest: blob.size for blob in empty.walk()} == manifest.stored

    def test_what_is_here_is_not_read(self, yard: Yard) -> None:
        lines: list[str] = []
        carried = carried_in(files_of(oci_archive(yard.image(), yard.blobs, yard.gzip)))
        held: dict[str, int] = {}
        store_layers(carried, yard.manifest, yard.blobs, held.__setitem__, lines.append)
        assert all("here already" in line for line in lines)
        assert held == yard.manifest.stored

    def test_tells_what_is_installed(self, yard: Yard) -> None:
        layer = yard.manifest.layer(LayerKind.ENVIRONMENT)
        assert packages_in(yard.blobs.open(layer.digest)) == (
            Package(name="one-two", version="1.5"),
        )

    def test_brings_its_signature_and_sbom(self, yard: Yard) -> None:
        sbom = yard.put(b'{"bomFormat": "CycloneDX"}')
        signature = KEY.sign(yard.manifest.digest, sbom.digest)
        image = yard.image(signature=signature)
        files = files_of(oci_archive(image, yard.blobs, yard.gzip))
        kept = kept_beside(image, yard.blobs)
        assert len(kept) == 2
        assert list(carried_in(files).beside) == list(kept)
        unsigned = carried_in(files_of(oci_archive(yard.image(), yard.blobs, yard.gzip)))
        assert list(unsigned.beside) == []

    def test_brings_its_sample(self, yard: Yard) -> None:
        carried = carried_in(files_of(oci_archive(yard.image(), yard.blobs, yard.gzip)))
        assert sample_in(carried.labels) == [1, 2]

    @pytest.mark.parametrize("text", ["", "nonsense", "[" * 10_000, "x" * 20_000])
    def test_a_sample_that_is_none(self, text: str) -> None:
        assert sample_in({"io.modelyard.sample": text}) is None


class Forgery:
    """A layout that is consistent in itself, made of whatever the test wants."""

    def __init__(self, manifest: Manifest, layers: list[tuple[bytes, str]]) -> None:
        self.manifest = manifest
        self.layers = layers
        self.last = last_tar(manifest)
        self.architecture = "amd64"
        self.diff_ids: list[str] | None = None

    @classmethod
    def of(cls, yard: Yard) -> Forgery:
        base = [(b"".join(yard.blobs.open(one.digest)), one.media_type) for one in yard.base.layers]
        own = [(b"".join(yard.blobs.open(one.digest)), LAYER) for one in yard.manifest.layers]
        return cls(yard.manifest, base + own)

    def archive(self) -> bytes:
        blobs: dict[str, bytes] = {}

        def put(body: bytes, media_type: str) -> dict[str, Any]:
            blobs[digest_of(body)] = body
            return {"mediaType": media_type, "digest": digest_of(body), "size": len(body)}

        base = self.manifest.base.layers if self.manifest.base else ()
        own = [layer.digest for layer in self.manifest.layers]
        diff_ids = [*(one.diff_id for one in base), *own, digest_of(self.last)]
        config = {
            "os": "linux",
            "architecture": self.architecture,
            "rootfs": {"type": "layers", "diff_ids": self.diff_ids or diff_ids},
        }
        manifest = {
            "schemaVersion": 2,
            "config": put(to_json(config), CONFIG),
            "layers": [put(*layer) for layer in (*self.layers, (self.last, LAYER))],
        }
        index = {"schemaVersion": 2, "manifests": [put(to_json(manifest), MANIFEST)]}
        files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": to_json(index)}
        files |= {f"blobs/sha256/{digest[7:]}": body for digest, body in blobs.items()}
        return b"".join(tar_chunks(file_from_bytes(path, body) for path, body in files.items()))


def own_layer(kind: LayerKind, tar: bytes) -> Callable[[Forgery], None]:
    """Has the manifest say, truthfully, that a layer of ours is this."""

    def forge(forgery: Forgery) -> None:
        position = list(LayerKind).index(kind)
        layers = list(forgery.manifest.layers)
        layers[position] = layers[position].model_copy(
            update={"digest": digest_of(tar), "size": len(tar)}
        )
        forgery.manifest = forgery.manifest.model_copy(update={"layers": tuple(layers)})
        forgery.last = last_tar(forgery.manifest)
        forgery.layers[2 + position] = (tar, LAYER)

    return forge


def saying(**changes: Any) -> Callable[[Forgery], None]:
    """Has the manifest say something else."""

    def forge(forgery: Forgery) -> None:
        document = json.loads(forgery.manifest.to_bytes()) | changes
        body = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
        forgery.last = tar_of({"opt/modelyard/manifest.json": body})

    return forge


def swapped(position: int, body: bytes, media_type: str = LAYER) -> Callable[[Forgery], None]:
    def forge(forgery: Forgery) -> None:
        forgery.layers[position] = (body, media_type)

    return forge


def set_last(body: bytes) -> Callable[[Forgery], None]:
    return lambda forgery: setattr(forgery, "last", body)


def symlink_tar() -> bytes:
    import tarfile

    member = tarfile.TarInfo("opt")
    member.type, member.linkname = tarfile.SYMTYPE, "/etc"
    return member.tobuf(tarfile.USTAR_FORMAT) + bytes(1024)


MODEL = {"name": "digits", "version": 3, "path": "digits/3"}
FORGERIES: dict[str, Callable[[Forgery], None]] = {
    "another layer than the manifest says": swapped(5, tar_of({"opt/x": b"x"})),
    "a bomb in place of a layer": swapped(5, b"".join(compressed([bytes(9 << 20)])), LAYER_GZIP),
    "half a compressed layer": swapped(5, b"".join(compressed([bytes(999)]))[:-9], LAYER_GZIP),
    "another base layer": swapped(1, tar_of({"usr/lib/evil": b"x"})),
    "a base layer that is no gzip": swapped(0, b"nonsense", LAYER_GZIP),
    "a file outside of its layer's place": own_layer(
        LayerKind.MODEL, tar_of({"usr/bin/python3.11": b"evil"})
    ),
    "a file beside its layer's place": own_layer(
        LayerKind.CODE, tar_of({"opt/modelyard/manifest.json": b"evil"})
    ),
    "a link in a layer": own_layer(LayerKind.MODEL, symlink_tar()),
    "a layer that is no tar": own_layer(LayerKind.MODEL, b"nonsense" * 100),
    "names that climb": own_layer(
        LayerKind.MODEL, tar_of({"opt/aa": b"x"}).replace(b"opt/aa", b"opt/..")
    ),
    "no manifest": set_last(tar_of({"opt/other": b"x"})),
    "more beside the manifest": set_last(
        tar_of({"opt/modelyard/manifest.json": b"{}", "etc/passwd": b"root"})
    ),
    "a manifest that is none": set_last(tar_of({"opt/modelyard/manifest.json": b"[]"})),
    "a manifest as deep as a well": set_last(
        tar_of({"opt/modelyard/manifest.json": b"[" * 100_000})
    ),
    "a manifest of another version": saying(schema_version=2),
    "a manifest with more in it": saying(something="else"),
    "a model in another place": saying(models=[{**MODEL, "path": "../../etc"}]),
    "a model that is not its folder": saying(models=[{**MODEL, "path": "digits/4"}]),
    "a model with an impossible name": saying(models=[{**MODEL, "name": "<b>", "path": "<b>/3"}]),
    "no layers": saying(layers=[]),
    "another platform": lambda forgery: setattr(forgery, "architecture", "arm64"),
    "other digests in the configuration": lambda forgery: setattr(
        forgery, "diff_ids", [f"sha256:{'0' * 64}"] * 7
    ),
    "a layer too many": lambda forgery: forgery.layers.append((b"more", LAYER)),
    "a layer too few": lambda forgery: forgery.layers.pop(),
}


class TestForgeries:
    def test_what_they_are_made_from_is_taken(self, yard: Yard, empty: LocalBlobs) -> None:
        assert take_in(Forgery.of(yard).archive(), empty) == yard.manifest

    @pytest.mark.parametrize("name", FORGERIES)
    def test_are_refused(self, yard: Yard, empty: LocalBlobs, name: str) -> None:
        forgery = Forgery.of(yard)
        FORGERIES[name](forgery)
        with pytest.raises((IntegrityError, InvalidRequest)):
            take_in(forgery.archive(), empty)
        allowed = {one.digest for one in yard.base.layers} | {
            one.digest for one in yard.manifest.layers
        }
        assert {blob.digest for blob in empty.walk()} <= allowed
        assert empty.sweep() == 0


DOCKER: dict[str, Callable[[dict[str, bytes]], object]] = {
    "nothing": lambda files: files.clear(),
    "a file too many": lambda files: files.__setitem__("stowaway", b"x"),
    "no configuration": lambda files: files.pop(next(n for n in files if n.endswith("json"))),
    "a listing that is none": lambda files: files.__setitem__("manifest.json", b"{"),
    "an empty listing": lambda files: files.__setitem__("manifest.json", b"[]"),
    "two images": lambda files: files.__setitem__(
        "manifest.json", to_json(json.loads(files["manifest.json"]) * 2)
    ),
    "a listing of nothing": lambda files: files.__setitem__("manifest.json", b"[{}]"),
    "a path outside": lambda files: files.__setitem__(
        "manifest.json",
        to_json([{**json.loads(files["manifest.json"])[0], "Config": "/etc/passwd"}]),
    ),
    "another layer": lambda files: files.__setitem__(
        next(name for name in files if name.endswith(".tar")), b"x" * 512
    ),
}


@pytest.mark.parametrize("name", DOCKER)
def test_archives_of_docker_that_are_refused(yard: Yard, empty: LocalBlobs, name: str) -> None:
    archive = files_of(docker_archive(yard.image(), yard.blobs))
    files = {path: b"".join(archive.open(path)) for path in archive.names()}
    DOCKER[name](files)
    with pytest.raises(ModelyardError):
        take_in(tar_of(files), empty)


def test_an_image_of_others(yard: Yard, empty: LocalBlobs) -> None:
    forgery = Forgery.of(yard)
    forgery.last = tar_of({"usr/bin/thing": b"x"})
    with pytest.raises(InvalidRequest, match="not an image of Modelyard"):
        take_in(forgery.archive(), empty)


def test_an_archive_of_something_else(empty: LocalBlobs) -> None:
    with pytest.raises(InvalidRequest, match="holds no image"):
        take_in(tar_of({"README": b"hello"}), empty)
