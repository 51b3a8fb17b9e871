"""Long bodies that are received where they stay, and the memory that they share in turn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard_runtime.http.budget import Budget, Holding
from modelyard_runtime.http.messages import Headers, LongRequest, Request
from modelyard_runtime.http.places import Placed, Rooms
from modelyard_runtime.http.reader import RequestReader, Rules
from modelyard_runtime.http.server import Limits

MIB = 1 << 20
HEAD = b"POST /score HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"


def holding() -> Holding:
    return Holding(Budget(1 << 30))


def placed(data: bytes, rooms: Rooms) -> memoryview:
    body = Placed(len(data), rooms, holding())
    body.put(data)
    return body.end()


class Noting(Rooms):
    """Notes what is taken."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[int] = []

    def take(self, size: int) -> bytearray:
        self.taken.append(size)
        return super().take(size)


@given(
    parts=st.lists(st.tuples(st.binary(min_size=1, max_size=40), st.booleans()), min_size=1),
)
def test_is_whole_however_it_came(parts: list[tuple[bytes, bool]]) -> None:
    whole = b"".join(part for part, _ in parts)
    body = Placed(len(whole), Rooms(), holding())
    for part, goes_through in parts:
        if goes_through:
            body.put(part)
            continue
        while part:
            room = body.room()
            count = min(len(room), len(part))
            room[:count], part = part[:count], part[count:]
            body.filled(count)
    assert bytes(body.end()) == whole


def test_room_is_made_for_what_has_come() -> None:
    rooms = Noting()
    body = Placed(100 * MIB, rooms, holding())
    assert len(body.room()) <= 100_000
    body.put(b"a" * 100_000)
    assert len(body.room()) > 0
    assert max(rooms.taken) < MIB


def test_ends_where_numbers_may_end() -> None:
    numbers = np.arange(1000, dtype=np.float64)
    for length in range(17):
        body = placed(b"x" * length + numbers.tobytes(), Rooms())
        array = np.frombuffer(body[length:], np.float64)
        assert array.flags.aligned
        assert (array == numbers).all()


class TestRooms:
    def test_are_used_again(self) -> None:
        rooms = Rooms()
        room = rooms.take(MIB)
        rooms.give_back(room)
        assert rooms.take(MIB - 100) is room

    def test_are_not_while_somebody_looks(self) -> None:
        rooms = Rooms()
        first = np.frombuffer(placed(b"a" * MIB, rooms), np.uint8)
        second = placed(b"b" * MIB, rooms)
        assert set(first.tolist()) == {ord("a")}
        assert bytes(second) == b"b" * MIB
        part = second[10:20]
        del second
        placed(b"c" * MIB, rooms)
        assert bytes(part) == b"b" * 10

    def test_much_larger_ones_are_kept_for_larger_bodies(self) -> None:
        rooms = Rooms()
        room = rooms.take(10 * MIB)
        rooms.give_back(room)
        assert rooms.take(MIB) is not room
        assert rooms.take(9 * MIB) is room

    def test_are_not_kept_without_bound(self) -> None:
        rooms = Rooms()
        given_back = [rooms.take(MIB) for _ in range(70)]
        for room in given_back:
            rooms.give_back(room)
        again = [rooms.take(MIB) for _ in range(70)]
        assert sum(any(room is one for one in given_back) for room in again) == 64

    def test_are_let_go_when_idle(self) -> None:
        rooms = Rooms()
        room = rooms.take(MIB)
        rooms.give_back(room)
        rooms.tidy()
        assert rooms.take(MIB) is room
        rooms.give_back(room)
        rooms.tidy()
        rooms.tidy()
        assert rooms.take(MIB) is not room

    def test_no_more_are_kept_than_were_needed(self) -> None:
        rooms = Rooms()
        for room in [rooms.take(MIB) for _ in range(5)]:
            rooms.give_back(room)
        rooms.tidy()
        taken = [rooms.take(MIB) for _ in range(2)]
        for room in taken:
            rooms.give_back(room)
        rooms.tidy()
        again = [rooms.take(MIB) for _ in range(3)]
        assert [any(room is one for one in taken) for room in again] == [True, True, False]


def test_what_is_lent_cannot_be_written() -> None:
    body = placed(b"a" * 1000, Rooms())
    with pytest.raises(TypeError):
        body[0] = 1


def test_a_copy_outlives_what_is_lent() -> None:
    rooms = Rooms()
    request = LongRequest.lending(
        Request("POST", "/", "", Headers([]), b"").head, placed(b"a" * MIB, rooms)
    )
    assert request.body is request.body
    copy = request.body
    del request
    placed(b"b" * MIB, rooms)
    assert copy == b"a" * MIB


@pytest.mark.parametrize("first", [1000, 100_000])
def test_the_reader_takes_the_rest_where_it_stays(first: int) -> None:
    data = bytes(range(256)) * 4096
    reader = RequestReader(Rules(Limits()))
    reader.feed(HEAD % len(data) + data[:first])
    assert reader.places
    at = first
    while at < len(data):
        room = reader.room()
        count = min(len(room), len(data) - at)
        room[:count] = data[at : at + count]
        at += count
        reader.filled(count)
    (request,) = reader.ready
    assert (bytes(request.view), request.body) == (data, data)
    assert not reader.places


def test_short_bodies_and_short_rests_go_the_usual_way() -> None:
    reader = RequestReader(Rules(Limits()))
    reader.feed(HEAD % 200_000 + b"a")
    assert not reader.places
    reader = RequestReader(Rules(Limits()))
    reader.feed(HEAD % MIB + b"a" * (MIB - 1000))
    assert not reader.places
    reader.feed(b"a" * 1000)
    assert reader.ready[0].body == b"a" * MIB
