"""What every blob store must do."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.blobs import BlobStore, LocalBlobs
from modelyard.errors import IntegrityError, InvalidRequest, NotFound

MIB = 1 << 20


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return LocalBlobs(tmp_path / "blobs")


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def put(blobs: BlobStore, *pieces: bytes) -> str:
    with blobs.writer() as writer:
        for piece in pieces:
            writer.write(piece)
        return writer.commit().digest


def read(blobs: BlobStore, digest: str, offset: int = 0, length: int | None = None) -> bytes:
    return b"".join(blobs.open(digest, offset, length))


class TestWriter:
    @pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB + 7])
    def test_gives_back_what_was_written(self, blobs: BlobStore, size: int) -> None:
        data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        with blobs.writer() as writer:
            writer.write(data)
            stored = writer.commit()
        assert stored == (digest_of(data), size)
        assert read(blobs, stored.digest) == data
        assert blobs.size(stored.digest) == size

    def test_takes_pieces_of_any_size_and_kind(self, blobs: BlobStore) -> None:
        pieces = [
            b"a" * 3,
            bytearray(b"b" * MIB),
            memoryview(b"c" * 2 * MIB),
            b"d" * MIB,
            b"",
            b"e",
        ]
        with blobs.writer() as writer:
            for piece in pieces:
                writer.write(piece)
            stored = writer.commit()
        assert read(blobs, stored.digest) == b"".join(pieces)

    def test_does_not_keep_the_callers_buffer(self, blobs: BlobStore) -> None:
        buffer = bytearray(b"a" * MIB)
        with blobs.writer() as writer:
            writer.write(buffer)
            buffer[:] = b"b" * MIB
            writer.write(buffer)
            stored = writer.commit()
        assert stored.digest == digest_of(b"a" * MIB + b"b" * MIB)

    def test_keeps_what_was_promised(self, blobs: BlobStore) -> None:
        with blobs.writer() as writer:
            writer.write(b"data")
            assert writer.commit(digest_of(b"data")).digest == digest_of(b"data")

    def test_keeps_nothing_else(self, blobs: BlobStore) -> None:
        with blobs.writer() as writer:
            writer.write(b"data")
            with pytest.raises(IntegrityError, match="as promised"):
                writer.commit(digest_of(b"other"))
        assert list(blobs.walk()) == []
        assert blobs.sweep() == 0

    def test_keeps_nothing_without_commit(self, blobs: BlobStore) -> None:
        with blobs.writer() as writer:
            writer.write(b"data")
            writer.abort()
            writer.abort()
        with blobs.writer() as writer:
            writer.write(b"a" * 2 * MIB)
        assert list(blobs.walk()) == []
        assert blobs.sweep() == 0

    def test_abort_after_commit_changes_nothing(self, blobs: BlobStore) -> None:
        with blobs.writer() as writer:
            stored = writer.commit()
            writer.abort()
        assert blobs.exists(stored.digest)

    def test_the_same_bytes_again_are_no_error(self, blobs: BlobStore) -> None:
        with ThreadPoolExecutor(8) as threads:
            digests = set(threads.map(lambda _: put(blobs, b"data"), range(32)))
        assert digests == {digest_of(b"data")}
        assert [listed.digest for listed in blobs.walk()] == [digest_of(b"data")]


class TestRead:
    def test_gives_any_range(self, blobs: BlobStore) -> None:
        data = bytes(range(251)) * (2 * MIB // 251 + 5)
        digest = put(blobs, data)

        @settings(max_examples=60, deadline=None)
        @given(st.integers(0, len(data)), st.none() | st.integers(0, 3 * MIB))
        def check(offset: int, length: int | None) -> None:
            end = None if length is None else offset + length
            assert read(blobs, digest, offset, length) == data[offset:end]

        check()

    def test_gives_small_pieces(self, blobs: BlobStore) -> None:
        digest = put(blobs, b"a" * (5 * MIB + 1))
        assert max(len(piece) for piece in blobs.open(digest)) <= MIB

    @pytest.mark.parametrize(("offset", "length"), [(5, None), (-1, None), (0, -1)])
    def test_refuses_a_range_outside(
        self, blobs: BlobStore, offset: int, length: int | None
    ) -> None:
        digest = put(blobs, b"four")
        with pytest.raises(InvalidRequest, match="has 4 bytes"):
            blobs.open(digest, offset, length)

    def test_says_at_once_what_is_not_there(self, blobs: BlobStore) -> None:
        for ask in (blobs.open, blobs.size):
            with pytest.raises(NotFound):
                ask(digest_of(b"never written"))
        assert not blobs.exists(digest_of(b"never written"))

    @pytest.mark.parametrize(
        "digest",
        [
            "",
            "sha256:",
            "sha256:" + "a" * 63,
            "sha256:" + "A" * 64,
            "sha256:" + "a" * 64 + "\n",
            "sha256:../" + "a" * 61,
            "md5:" + "a" * 64,
        ],
    )
    def test_refuses_what_is_no_digest(self, blobs: BlobStore, digest: str) -> None:
        for ask in (blobs.open, blobs.size, blobs.exists, blobs.delete):
            with pytest.raises(InvalidRequest, match="is not a digest"):
                ask(digest)


class TestDelete:
    def test_frees_once(self, blobs: BlobStore) -> None:
        digest = put(blobs, b"data")
        blobs.delete(digest)
        blobs.delete(digest)
        assert not blobs.exists(digest)
        assert list(blobs.walk()) == []

    def test_walk_says_when_it_was_written(self, blobs: BlobStore) -> None:
        put(blobs, b"data")
        (listed,) = blobs.walk()
        assert listed[:2] == (digest_of(b"data"), 4)
        assert abs(datetime.now(UTC) - listed.modified) < timedelta(minutes=1)
