"""Evens out how many connections each worker of a replica has; its server asks.

Workers accept from one socket, and whichever is awake takes the next connection: where all come at
once and stay, one worker would have nearly all of the work. So one that has more than another
leaves the next connection to that for a moment.
"""

from __future__ import annotations

from modelyard_runtime.board import Board


class Share:
    """The part of one worker."""

    def __init__(self, board: Board, slot: int) -> None:
        self._board = board
        self._slot = slot
        self._count = 0
        self.add(0)

    def add(self, change: int) -> None:
        """There are so many connections more, or fewer."""
        self._count += change
        self._board.set_connections(self._slot, self._count)

    def is_exceeded(self) -> bool:
        """Whether another worker has fewer, and by more than one."""
        return self._count > self._board.fewest_connections() + 1
