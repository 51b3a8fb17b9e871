"""What only blobs in files have: modes, temporary files, full and broken disks."""

from __future__ import annotations

import errno
import os
import stat
import tracemalloc
from pathlib import Path

import pytest

from modelyard.blobs.local import LocalBlobs
from modelyard.errors import InsufficientStorage, IntegrityError, Unavailable

MIB = 1 << 20


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


@pytest.fixture
def blobs(root: Path) -> LocalBlobs:
    return LocalBlobs(root)


def files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


def test_a_blob_is_a_read_only_file_named_by_its_digest(blobs: LocalBlobs, root: Path) -> None:
    with blobs.writer() as writer:
        writer.write(b"data")
        digest = writer.commit().digest.removeprefix("sha256:")
    (path,) = files(root)
    assert path == root / "sha256" / digest[:2] / digest
    assert stat.S_IMODE(path.stat().st_mode) == 0o444


def test_folders_are_private(blobs: LocalBlobs, root: Path) -> None:
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    assert stat.S_IMODE((root / "incoming").stat().st_mode) == 0o700


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_leaves_nothing_behind(
    blobs: LocalBlobs, root: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def full(descriptor: int, data: bytes) -> int:
        raise OSError(number, os.strerror(number))

    with blobs.writer() as writer:
        writer.write(b"small")
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(InsufficientStorage, match="disk of the blob store is full"):
            writer.write(b"a" * MIB)
    assert files(root) == []


def test_a_disk_that_fails_to_sync_is_not_believed(
    blobs: LocalBlobs, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with blobs.writer() as writer:
        writer.write(b"data")
        monkeypatch.setattr(os, "fsync", broken)
        with pytest.raises(Unavailable, match="Input/output error"):
            writer.commit()
    assert files(root) == []


def test_short_writes_are_continued(blobs: LocalBlobs, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:100_000]))
    with blobs.writer() as writer:
        writer.write(b"a" * (MIB + 1))
        stored = writer.commit()
    assert blobs.size(stored.digest) == stored.size == MIB + 1


def test_a_file_cut_off_is_noticed(blobs: LocalBlobs, root: Path) -> None:
    with blobs.writer() as writer:
        writer.write(b"a" * (2 * MIB))
        digest = writer.commit().digest
    pieces = blobs.open(digest)
    next(pieces)
    (path,) = files(root)
    path.chmod(0o600)
    os.truncate(path, MIB)
    with pytest.raises(IntegrityError, match="before its size"):
        next(pieces)


class TestSweep:
    def test_removes_what_a_dead_writer_left(self, blobs: LocalBlobs, root: Path) -> None:
        (root / "incoming" / "abandoned").write_bytes(b"data")
        assert blobs.sweep() == 1
        assert files(root) == []

    def test_spares_what_is_being_written(self, blobs: LocalBlobs) -> None:
        with blobs.writer() as writer:
            writer.write(b"a" * MIB)
            assert LocalBlobs(blobs._incoming.parent).sweep() == 0
            assert blobs.exists(writer.commit().digest)


def test_memory_does_not_grow_with_the_blob(blobs: LocalBlobs) -> None:
    piece = b"a" * (MIB // 3)
    tracemalloc.start()
    try:
        with blobs.writer() as writer:
            for _ in range(100):
                writer.write(piece)
            digest = writer.commit().digest
        for _ in blobs.open(digest):
            pass
        assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    finally:
        tracemalloc.stop()
