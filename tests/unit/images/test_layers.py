"""Writing layers, and unpacking them into the cache that a host's processes share."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.blobs.local import LocalBlobs
from modelyard.domain.image import LayerKind
from modelyard.errors import InsufficientStorage, IntegrityError
from modelyard.images import layers as layers_module
from modelyard.images.layers import (
    LayerCache,
    LayerFile,
    file_from_blob,
    file_from_bytes,
    files_below,
    tar_chunks,
    write_layer,
    write_tree,
)

FILES = {
    "opt/modelyard/code/score.py": b"def run(data): ...\n",
    "opt/modelyard/code/a-b/c.txt": b"one",
    "opt/modelyard/code/a/c.txt": b"two",
    "opt/modelyard/code/a.txt": b"",
}


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(tmp_path / "blobs")


@pytest.fixture
def layers(tmp_path: Path) -> LayerCache:
    return LayerCache(tmp_path / "layers")


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


def some_files() -> list[LayerFile]:
    return [file_from_bytes(path, content) for path, content in FILES.items()]


def content_of(folder: Path) -> dict[str, bytes]:
    return {file.path: b"".join(file.read()) for file in files_below(folder / "opt", "opt")}


def leftovers(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "layers" / ".staging").iterdir())


class TestWriting:
    def test_the_order_of_files_does_not_matter(self) -> None:
        assert b"".join(tar_chunks(some_files())) == b"".join(tar_chunks(some_files()[::-1]))

    def test_where_the_files_were_does_not_matter(self, tmp_path: Path, umask: None) -> None:
        for root in ("one", "two/deeper"):
            for path, content in FILES.items():
                (tmp_path / root / path).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / root / path).write_bytes(content)
        one, two = (tar_chunks(files_below(tmp_path / root)) for root in ("one", "two/deeper"))
        assert b"".join(one) == b"".join(two) == b"".join(tar_chunks(some_files()))

    def test_the_folder_is_there_without_files(self, blobs: LocalBlobs, layers: LayerCache) -> None:
        layer = write_layer(LayerKind.MODEL, [], "opt/modelyard/models", blobs, layers)
        folder = layers.path(layer.digest)
        assert folder is not None
        assert (folder / "opt/modelyard/models").is_dir()
        files = [file_from_bytes("opt/modelyard/models/a/b", b"")]
        assert b"".join(tar_chunks(files)) == b"".join(tar_chunks(files, "opt/modelyard/models"))

    def test_it_comes_in_pieces_of_bounded_length(self) -> None:
        file = LayerFile("big", 10 << 20, lambda: iter([bytes(1 << 20)] * 10))
        assert max(len(chunk) for chunk in tar_chunks([file])) <= (1 << 20) + 4096

    @pytest.mark.parametrize("content", [b"", b"shor", b"longer"])
    def test_a_file_that_changes_meanwhile_is_refused(self, content: bytes) -> None:
        with pytest.raises(IntegrityError, match="`a` changed"):
            list(tar_chunks([LayerFile("a", 5, lambda: [content])]))

    @pytest.mark.parametrize(
        "paths", [("a", "a"), ("a", "A"), ("a", "a/b"), ("../a",), ("/a",), ("a\nb",)]
    )
    def test_what_could_not_be_read_is_not_written(self, paths: tuple[str, ...]) -> None:
        with pytest.raises(IntegrityError):
            list(tar_chunks([file_from_bytes(path, b"") for path in paths]))

    def test_links_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to("/etc/passwd")
        with pytest.raises(IntegrityError, match="`link` is neither"):
            files_below(tmp_path)

    def test_a_layer_is_stored_and_unpacked_in_one_pass(
        self, blobs: LocalBlobs, layers: LayerCache
    ) -> None:
        layer = write_layer(LayerKind.CODE, some_files(), "opt", blobs, layers)
        assert b"".join(blobs.open(layer.digest)) == b"".join(tar_chunks(some_files()))
        assert layer.size == blobs.size(layer.digest)
        folder = layers.path(layer.digest)
        assert folder is not None
        assert content_of(folder) == FILES

    def test_a_tree_becomes_the_unpacked_layer_itself(
        self, blobs: LocalBlobs, layers: LayerCache, tmp_path: Path
    ) -> None:
        with layers.staging() as tree:
            for path, content in FILES.items():
                (tree / path).parent.mkdir(parents=True, exist_ok=True)
                (tree / path).write_bytes(content)
            layer = write_tree(LayerKind.CODE, tree, blobs, layers)
        assert layer == write_layer(LayerKind.CODE, some_files(), "opt", blobs, layers)
        folder = layers.path(layer.digest)
        assert folder is not None
        assert content_of(folder) == FILES
        assert leftovers(tmp_path) == []

    def test_a_failed_layer_leaves_nothing(
        self, blobs: LocalBlobs, layers: LayerCache, tmp_path: Path
    ) -> None:
        with pytest.raises(IntegrityError):
            write_layer(LayerKind.CODE, [LayerFile("a", 5, lambda: [b"1"])], "opt", blobs, layers)
        assert list(blobs.walk()) == []
        assert leftovers(tmp_path) == []

    def test_blobs_are_read_as_files(self, blobs: LocalBlobs) -> None:
        with blobs.writer() as writer:
            writer.write(b"content")
            digest = writer.commit().digest
        file = file_from_blob("a", digest, blobs)
        assert (file.size, b"".join(file.read()), b"".join(file.read())) == (
            7,
            b"content",
            b"content",
        )


class TestUnpacking:
    def store(self, blobs: LocalBlobs) -> str:
        with blobs.writer() as writer:
            for chunk in tar_chunks(some_files()):
                writer.write(chunk)
            return writer.commit().digest

    def test_files_are_read_only_whatever_the_umask_is(
        self, blobs: LocalBlobs, layers: LayerCache, umask: None
    ) -> None:
        digest = self.store(blobs)
        folder = layers.unpack(digest, blobs.open(digest))
        assert content_of(folder) == FILES
        for path in FILES:
            assert (folder / path).stat().st_mode & 0o777 == 0o444
            assert (folder / path).parent.stat().st_mode & 0o777 == 0o755
        assert folder.stat().st_mode & 0o777 == 0o755

    def test_programs_stay_executable(self, layers: LayerCache, blobs: LocalBlobs) -> None:
        file = LayerFile("opt/run", 1, lambda: [b"x"], executable=True)
        layer = write_layer(LayerKind.CODE, [file], "opt", blobs, layers)
        folder = layers.path(layer.digest)
        assert folder is not None
        assert (folder / "opt/run").stat().st_mode & 0o777 == 0o555

    def test_what_is_there_is_not_unpacked_again(
        self, blobs: LocalBlobs, layers: LayerCache
    ) -> None:
        digest = self.store(blobs)
        folder = layers.unpack(digest, blobs.open(digest))
        assert layers.unpack(digest, iter(())) == folder == layers.path(digest)

    def test_an_unknown_layer_is_not_there(self, layers: LayerCache) -> None:
        assert layers.path(f"sha256:{'0' * 64}") is None

    @pytest.mark.parametrize("digest", ["", "sha256:../../etc", f"sha256:{'0' * 64}\n", "0" * 64])
    def test_what_is_no_digest_names_no_folder(self, layers: LayerCache, digest: str) -> None:
        with pytest.raises(IntegrityError, match="is not a digest"):
            layers.path(digest)

    def test_changed_bytes_are_refused(
        self, blobs: LocalBlobs, layers: LayerCache, tmp_path: Path
    ) -> None:
        digest = self.store(blobs)
        data = b"".join(blobs.open(digest)).replace(b"one", b"eno")
        with pytest.raises(IntegrityError, match="its bytes were changed"):
            layers.unpack(digest, [data])
        assert layers.path(digest) is None
        assert leftovers(tmp_path) == []

    def test_more_bytes_than_promised_are_refused_early(
        self, blobs: LocalBlobs, layers: LayerCache
    ) -> None:
        taken = []

        def endless() -> Iterator[bytes]:
            yield from tar_chunks([LayerFile("opt", 1 << 40, lambda: iter(lambda: bytes(512), 0))])

        def counted() -> Iterator[bytes]:
            for chunk in endless():
                taken.append(len(chunk))
                yield chunk

        with pytest.raises(IntegrityError, match="longer than the promised"):
            layers.unpack(f"sha256:{'0' * 64}", counted(), size=3 << 20)
        assert sum(taken) < 6 << 20

    def test_a_full_disk_is_named_and_leaves_nothing(
        self,
        blobs: LocalBlobs,
        layers: LayerCache,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def full(descriptor: int, data: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        digest = self.store(blobs)
        chunks = list(blobs.open(digest))
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(InsufficientStorage, match="is full"):
            layers.unpack(digest, chunks)
        monkeypatch.undo()
        assert layers.path(digest) is None
        assert leftovers(tmp_path) == []


class TestAfterARestartOfTheHost:
    """A power cut may take bytes that were not yet on the disk."""

    @pytest.fixture
    def unpacked(
        self, blobs: LocalBlobs, layers: LayerCache, monkeypatch: pytest.MonkeyPatch
    ) -> tuple[str, Path]:
        layer = write_layer(LayerKind.CODE, some_files(), "opt", blobs, layers)
        folder = layers.path(layer.digest)
        assert folder is not None
        monkeypatch.setattr(layers_module, "_boot_id", lambda: "another start")
        return layer.digest, folder

    def test_a_whole_layer_is_kept(self, layers: LayerCache, unpacked: tuple[str, Path]) -> None:
        digest, folder = unpacked
        assert layers.path(digest) == folder
        (folder / "opt/modelyard/code/a.txt").unlink()
        assert layers.path(digest) == folder, "it is looked at once for every start of the host"

    @pytest.mark.parametrize("damage", ["emptied", "lost", "linked", "added"])
    def test_a_damaged_layer_is_unpacked_again(
        self, blobs: LocalBlobs, layers: LayerCache, unpacked: tuple[str, Path], damage: str
    ) -> None:
        digest, folder = unpacked
        file = folder / "opt/modelyard/code/score.py"
        if damage == "added":
            file.with_name("more.py").touch()
        else:
            file.unlink()
        if damage == "emptied":
            file.touch()
        if damage == "linked":
            file.symlink_to("/etc/passwd")
        assert layers.path(digest) is None
        assert content_of(layers.unpack(digest, blobs.open(digest))) == FILES
        assert layers.path(digest) == folder
