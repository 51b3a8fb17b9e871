"""Bodies while they come: gathered, inflated, streamed."""

from __future__ import annotations

import asyncio
import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard_runtime.http.bodies import HIGH_WATER, Gathered, Inflated, Streamed
from modelyard_runtime.http.messages import Refused

LIMIT = 1 << 20
TOO_LONG = Refused(413, "too long")


def inflate(*parts: bytes, coding: bytes = b"gzip", limit: int = LIMIT) -> bytes:
    body = Inflated(Gathered(), coding, limit, TOO_LONG)
    for part in parts:
        body.put(part)
    return body.end()


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@given(parts=st.lists(st.binary(max_size=10)))
def test_what_is_gathered_is_whole(parts: list[bytes]) -> None:
    body = Gathered()
    for part in parts:
        body.put(part)
    assert body.end() == b"".join(parts)


class TestInflated:
    @pytest.mark.parametrize("size", [1, 7, 1000, 1_000_000])
    @pytest.mark.parametrize("data", [b"", b"hello", bytes(range(256)) * 1000, b"a" * 1_000_000])
    def test_is_what_was_deflated(self, data: bytes, size: int) -> None:
        assert inflate(*pieces(gzip.compress(data), size)) == data
        assert inflate(*pieces(zlib.compress(data), size), coding=b"deflate") == data

    def test_several_members_make_one_body(self) -> None:
        members = b"".join(map(gzip.compress, (b"one, ", b"", b"two")))
        assert inflate(members) == inflate(*pieces(members, 1)) == b"one, two"

    def test_empty_members_are_not_gone_through_without_end(self) -> None:
        with pytest.raises(Refused, match="not whole"):
            inflate(gzip.compress(b"") * 65)

    def test_exactly_the_limit_is_taken(self) -> None:
        assert len(inflate(gzip.compress(b"a" * 1000), limit=1000)) == 1000

    def test_a_bomb_is_refused_before_it_has_gone_off(self) -> None:
        taken = Gathered()
        body = Inflated(taken, b"gzip", LIMIT, TOO_LONG)
        with pytest.raises(Refused) as refused:
            body.put(gzip.compress(b"\0" * (100 << 20), 9))
        assert refused.value.status == 413
        assert len(taken.end()) <= LIMIT

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"nonsense",
            gzip.compress(b"cut", mtime=0)[:-1],
            gzip.compress(b"cut", mtime=0)[:5],
            gzip.compress(b"a", mtime=0) + b"trailing",
            gzip.compress(b"damaged", mtime=0)[:-5] + b"12345",
            zlib.compress(b"another format"),
        ],
    )
    def test_what_is_corrupt_is_refused(self, data: bytes) -> None:
        with pytest.raises(Refused) as refused:
            inflate(data)
        assert refused.value.status == 400


class TestStreamed:
    def test_gives_parts_as_they_come(self) -> None:
        async def case() -> None:
            stream = Streamed()
            taking = asyncio.ensure_future(_take_all(stream))
            for part in (b"a", b"b"):
                await asyncio.sleep(0)
                stream.put(part)
            stream.end()
            assert await taking == [b"a", b"b"]

        asyncio.run(case())

    def test_gives_what_was_there_before_it_ended(self) -> None:
        async def case() -> None:
            stream = Streamed()
            stream.put(b"a")
            stream.end()
            assert await _take_all(stream) == [b"a"]
            assert await _take_all(stream) == []

        asyncio.run(case())

    @pytest.mark.parametrize("waiting", [True, False])
    def test_raises_what_went_wrong(self, waiting: bool) -> None:
        async def case() -> None:
            stream = Streamed()
            stream.put(b"forgotten")
            if waiting:
                await anext(stream)
            taking = asyncio.ensure_future(_take_all(stream))
            if waiting:
                await asyncio.sleep(0)
            stream.fail(Refused(408, "slow"))
            with pytest.raises(Refused, match="slow"):
                await taking

        asyncio.run(case())

    def test_is_whole_whatever_goes_wrong_afterwards(self) -> None:
        async def case() -> None:
            stream = Streamed()
            stream.put(b"a")
            stream.end()
            stream.fail(Refused(400, "gone"))
            assert await _take_all(stream) == [b"a"]

        asyncio.run(case())

    def test_asks_for_more_when_there_is_room_again(self) -> None:
        async def case() -> None:
            stream, asked = Streamed(), []
            stream.on_room(lambda: asked.append(stream.full))
            stream.put(b"a" * (HIGH_WATER - 1))
            assert not stream.full
            stream.put(b"b")
            assert stream.full
            await anext(stream)
            await anext(stream)
            assert asked == [False]

        asyncio.run(case())


async def _take_all(stream: Streamed) -> list[bytes]:
    return [part async for part in stream]
