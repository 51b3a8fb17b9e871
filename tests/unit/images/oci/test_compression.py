"""Gzip of layers."""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from collections.abc import Iterable

import pytest

from modelyard.errors import IntegrityError
from modelyard.images.oci.compression import compressed, inflated

BODIES = [b"", b"a", b"abc" * 1_000_000, os.urandom(3_000_000)]


def chunks(data: bytes, size: int) -> Iterable[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("size", [1 << 16, 1 << 20])
def test_comes_out_as_it_went_in(body: bytes, size: int) -> None:
    data = b"".join(compressed(chunks(body, size)))
    assert gzip.decompress(data) == body
    assert b"".join(inflated(chunks(data, size), len(body))) == body


def test_does_not_depend_on_pieces_or_times() -> None:
    body = os.urandom(1000) * 3000
    one, two = (b"".join(compressed(chunks(body, size))) for size in (1000, 1 << 20))
    assert hashlib.sha256(one).digest() == hashlib.sha256(two).digest()
    assert one[:10] == b"\x1f\x8b\x08\0\0\0\0\0\0\xff"


def test_of_others_in_several_members() -> None:
    data = gzip.compress(b"one") + gzip.compress(b"two")
    assert b"".join(inflated(chunks(data, 5), 6)) == b"onetwo"


def test_a_bomb_is_given_up_early() -> None:
    data = gzip.compress(bytes(100 << 20))
    seen: list[int] = []
    with pytest.raises(IntegrityError, match="more comes out"):
        seen.extend(len(piece) for piece in inflated([data], 1 << 20))
    assert sum(seen) <= 1 << 20


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"nonsense",
        gzip.compress(b"body", mtime=0)[:-1],  # no time: else the test has another name each second
        gzip.compress(b"body", mtime=0)[:-8],
        gzip.compress(b"body", mtime=0)[:-8] + bytes(8),
        gzip.compress(b"body", mtime=0) + b"rest",
        zlib.compress(b"body"),
    ],
)
def test_what_is_no_gzip(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        b"".join(inflated(chunks(data, 3), 1000))
