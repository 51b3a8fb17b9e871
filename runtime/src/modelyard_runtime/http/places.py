"""Keeps long bodies of known length in one piece each, in memory that is used again.

To take fresh memory from the system for every body costs more than to receive it.
"""

from __future__ import annotations

from modelyard_runtime.http.budget import Holding

_GROWTH, _LEAST = 8, 64 << 10
"""Times the bytes that have come, or bytes: so much room is made for a body, not for all that is
announced."""
_ALIGNED = 16
"""A body ends at an address that this divides. Binary tensors come last in a body: so numbers are
where libraries want them."""
_MOST_KEPT = 64 << 20
"""Bytes, those of bodies included that are still being looked at."""


class Rooms:
    """The memory of one server: what nobody looks at any more is given out again."""

    __slots__ = ("_rooms", "_spare")

    def __init__(self) -> None:
        self._rooms: list[bytearray] = []
        """Given back, which need not mean that nobody looks at them; the latest come last."""
        self._spare = 0
        """How many of them nobody has needed since `tidy`."""

    def take(self, size: int) -> bytearray:
        """At least so many bytes, whatever is in them."""
        for at in reversed(range(len(self._rooms))):
            room = self._rooms[at]
            if size <= len(room) <= 2 * size and _is_free(room):
                del self._rooms[at]
                self._spare = min(self._spare, at)
                return room
        return bytearray(size)

    def give_back(self, room: bytearray) -> None:
        """To be taken again as soon as there is no view of it left."""
        if room:
            self._rooms.append(room)
        while sum(map(len, self._rooms)) > _MOST_KEPT:
            del self._rooms[0]

    def tidy(self) -> None:
        """Let go of those that nobody has needed since the last call."""
        del self._rooms[: self._spare]
        self._spare = len(self._rooms)


class Placed:
    """A body that can be received into the place where it stays; see `bodies.Body`."""

    __slots__ = ("_holding", "_length", "_place", "_room", "_rooms", "_size")

    def __init__(self, length: int, rooms: Rooms, holding: Holding) -> None:
        self._holding = holding
        self._length = length
        self._rooms = rooms
        self._room = bytearray()
        self._place = memoryview(self._room)
        self._size = 0

    def put(self, part: bytes) -> None:
        """The next part."""
        self._holding.add(len(part))
        end = self._size + len(part)
        if end > len(self._place):
            self._grow(end)
        self._place[self._size : end] = part
        self._size = end

    def room(self) -> memoryview:
        """Where to put the next bytes, while there are more to come."""
        if self._size == len(self._place):
            self._grow(self._size)
        return self._place[self._size :]

    def filled(self, count: int) -> None:
        """So many bytes have been put there."""
        self._holding.add(count)
        self._size += count

    def end(self) -> memoryview:
        """The whole body. Its place is used again when this and all that was made of it is gone."""
        body = self._place.toreadonly()
        self._leave()
        return body

    def _grow(self, size: int) -> None:
        size = min(self._length, max(_GROWTH * size, _LEAST))
        offset = -size % _ALIGNED
        room = self._rooms.take(offset + size)
        place = memoryview(room)[offset : offset + size]
        place[: self._size] = self._place[: self._size]
        self._leave()
        self._room, self._place = room, place

    def _leave(self) -> None:
        self._rooms.give_back(self._room)
        self._room = bytearray()
        self._place = memoryview(self._room)


def _is_free(room: bytearray) -> bool:
    """Whether there is no view of it: then its length can be changed."""
    try:
        room.append(room.pop())
    except BufferError:
        return False
    return True
