"""What the workers of a replica share."""

from __future__ import annotations

import os

from modelyard_runtime.board import Board


def test_begins_with_nobody_ready() -> None:
    board = Board(2)
    assert board.ready() == 0
    assert board.last_beat(1) == 0


def test_counts_the_ready() -> None:
    board = Board(3)
    board.set_ready(0, True)
    board.set_ready(2, True)
    board.set_ready(0, False)
    assert board.ready() == 1


def test_is_seen_by_other_processes() -> None:
    board = Board(1)
    pid = os.fork()
    if pid == 0:
        board.beat(0, 12.5)
        board.set_ready(0, True)
        os._exit(0)
    os.waitpid(pid, 0)
    assert board.last_beat(0) == 12.5
    assert board.ready() == 1
