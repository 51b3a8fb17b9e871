"""Workers leave connections to those that have fewer."""

from __future__ import annotations

from modelyard_runtime.board import Board
from modelyard_runtime.sharing import Share


def shares(*, ready: int) -> tuple[Share, Share]:
    board = Board(2)
    for slot in range(ready):
        board.set_ready(slot, True)
    return Share(board, 0), Share(board, 1)


def test_the_one_with_more_leaves_the_next() -> None:
    first, second = shares(ready=2)
    first.add(1)
    assert not first.is_exceeded()
    first.add(1)
    assert first.is_exceeded()
    assert not second.is_exceeded()
    second.add(1)
    assert not first.is_exceeded()
    second.add(-1)
    assert first.is_exceeded()


def test_one_that_has_not_loaded_takes_none() -> None:
    first, _ = shares(ready=1)
    first.add(100)
    assert not first.is_exceeded()


def test_a_successor_begins_with_none() -> None:
    board = Board(1)
    Share(board, 0).add(5)
    Share(board, 0)
    board.set_ready(0, True)
    assert board.fewest_connections() == 0
