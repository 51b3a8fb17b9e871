"""What has come from a client and is not parsed yet."""

from __future__ import annotations

from collections import deque


class Unparsed(deque[bytes]):
    """Bytes as they came, in turn.

    A deque of its own, so that whether there are any is asked at no cost.
    """

    __slots__ = ("_begin",)

    def __init__(self) -> None:
        super().__init__()
        self._begin = 0
        """Bytes of the first of these that are taken already."""

    def take(self, most: int) -> bytes:
        """The next bytes of those that came together: so many, or the rest of them."""
        data, begin = self[0], self._begin
        end = begin + most
        if end < len(data):
            self._begin = end
            return data[begin:end]
        self.popleft()
        self._begin = 0
        return data[begin:] if begin else data
