"""Images that come as archives to a server: hostile ones, and a disk that becomes full."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.programs import unavailable
from tests.unit.images.oci.images import Yard

from modelyard.blobs.base import BlobStore
from modelyard.blobs.local import LocalBlobs
from modelyard.errors import InsufficientStorage, IntegrityError, InvalidRequest, NotFound
from modelyard.images.oci.archive import files_at
from modelyard.images.oci.forms import docker_archive, oci_archive
from modelyard.images.oci.intake import carried_in, read_manifest, store_layers
from modelyard.images.oci.rendering import render


def take_in(path: Path, blobs: BlobStore) -> None:
    carried = carried_in(files_at(path))
    manifest = read_manifest(carried)
    store_layers(carried, manifest, blobs, lambda digest, size: None, lambda line: None)


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    return Yard(tmp_path / "blobs")


@pytest.fixture
def archive(yard: Yard, tmp_path: Path) -> Path:
    path = tmp_path / "image.tar"
    path.write_bytes(b"".join(oci_archive(yard.image(), yard.blobs, yard.gzip).chunks))
    return path


def test_a_million_files(tmp_path: Path) -> None:
    """Given up after the first ten thousand: the rest is not even read."""
    path = tmp_path / "many.tar"
    with path.open("wb") as file:
        for number in range(11_000):
            file.write(tarfile.TarInfo(f"blobs/{number}").tobuf(tarfile.USTAR_FORMAT))
        file.write(tarfile.TarInfo("blobs/again").tobuf(tarfile.USTAR_FORMAT) * 989_000)
    with pytest.raises(IntegrityError, match="more than 10000"):
        files_at(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("form", ["oci", "docker"])
def test_half_an_archive(yard: Yard, tmp_path: Path, form: str, share: float) -> None:
    whole = (
        oci_archive(yard.image(), yard.blobs, yard.gzip)
        if form == "oci"
        else docker_archive(yard.image(), yard.blobs)
    )
    body = b"".join(whole.chunks)
    path = tmp_path / "half.tar"
    path.write_bytes(body[: int(len(body) * share)])
    empty = LocalBlobs(tmp_path / "empty")
    with pytest.raises(IntegrityError):
        take_in(path, empty)
    assert list(empty.walk()) == []


@pytest.mark.parametrize("seed", range(40))
def test_a_byte_that_was_changed_is_seen(archive: Path, tmp_path: Path, seed: int) -> None:
    """Anywhere but in what a tar has no use for, a changed byte is refused or means nothing."""
    body = bytearray(archive.read_bytes())
    body[(seed * 7919 * 31) % len(body)] ^= 1 << (seed % 8)
    archive.write_bytes(body)
    blobs = LocalBlobs(tmp_path / "taken")
    with contextlib.suppress(IntegrityError, InvalidRequest, NotFound):
        take_in(archive, blobs)
    for blob in blobs.walk():  # whatever was kept is what its name says
        content = b"".join(blobs.open(blob.digest))
        with blobs.writer() as writer:
            writer.write(content)
            assert writer.commit().digest == blob.digest


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    if os.geteuid() != 0 or os.uname().sysname != "Linux":
        reason = "mounting a small disk needs root on Linux"
        unavailable(reason)
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "modelyard-test", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = f"this machine lets nobody mount: {done.stderr.strip()}"
        unavailable(reason)
    yield place
    subprocess.run(["umount", str(place)], check=True)


def fill(path: Path) -> None:
    """Write until there is no room for one more KiB."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1024))


class TestFullDisk:
    def test_taking_in_leaves_nothing_half(
        self, tmp_path: Path, small_disk: Path, big: Callable[[], Yard]
    ) -> None:
        yard = big()
        path = tmp_path / "image.tar"
        path.write_bytes(b"".join(oci_archive(yard.image(), yard.blobs, yard.gzip).chunks))
        blobs = LocalBlobs(small_disk)
        with pytest.raises(InsufficientStorage):
            take_in(path, blobs)
        assert list((small_disk / "incoming").iterdir()) == []
        known = set(yard.manifest.stored)
        assert {blob.digest for blob in blobs.walk()} < known

    def test_rendering_leaves_nothing_half(self, small_disk: Path) -> None:
        yard = Yard(small_disk)
        (small_disk / "filler").write_bytes(bytes(100 << 10))
        fill(small_disk / "more")
        with pytest.raises(InsufficientStorage):
            render(yard.image(), yard.blobs, yard.gzip)
        assert list((small_disk / "incoming").iterdir()) == []

    @pytest.fixture
    def big(self, tmp_path: Path) -> Callable[[], Yard]:
        """An image with a model that is larger than the small disk."""

        def make() -> Yard:
            yard = Yard(tmp_path / "big")
            layers: list[Any] = list(yard.manifest.layers)
            content = {"opt/modelyard/models/digits/3/w.json": os.urandom(400 << 10)}
            layers[3] = yard.layer(layers[3].kind, content)
            yard.manifest = yard.manifest.model_copy(update={"layers": tuple(layers)})
            return yard

        return make
