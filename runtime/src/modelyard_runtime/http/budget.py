"""Bounds what the bodies of all requests at one server need of its memory together."""

from __future__ import annotations

from modelyard_runtime.http.messages import Refused

_RETRY_AFTER = (b"retry-after", b"1")


class Budget:
    """Bytes that all bodies at one server may need, small ones apart.

    Attributes:
        left: Those that none of them needs.
    """

    __slots__ = ("left",)

    def __init__(self, most: int) -> None:
        self.left = most

    def demand(self, count: int) -> None:
        """See to it that there are so many bytes.

        Raises:
            Refused: There are not.
        """
        if count > self.left:
            message = "Too many bytes of request bodies are here already. Try again in a moment."
            raise Refused(503, message, _RETRY_AFTER)

    def take(self, count: int) -> None:
        """Need so many more bytes; raises as `demand` does."""
        self.demand(count)
        self.left -= count

    def give_back(self, count: int) -> None:
        """Need so many fewer bytes."""
        self.left += count


class Holding:
    """What the bodies that came over one connection have taken of the budget."""

    __slots__ = ("_budget", "_coming", "_most", "_whole")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._coming = self._whole = self._most = 0

    def begin(self, announced: int, most: int) -> None:
        """A body comes, of which at most so many bytes are kept at once.

        Raises:
            Refused: It has announced more bytes than are left.
        """
        self._most = most
        self._budget.demand(min(announced, most))

    def add(self, count: int) -> None:
        """So many bytes of it have come. They need room only now, so that nobody can take it by
        announcing; raises `Refused` when there is none."""
        count = min(count, self._most - self._coming)
        self._budget.take(count)
        self._coming += count

    def end(self) -> None:
        """The body is whole. It needs its room until its request has been answered."""
        self._whole += self._coming
        self._coming = 0

    def settle(self) -> None:
        """All requests that were whole have been answered."""
        if self._whole:
            self._budget.give_back(self._whole)
            self._whole = 0

    def release(self) -> None:
        """The connection has ended."""
        self.end()
        self.settle()
