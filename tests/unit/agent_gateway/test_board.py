from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable

import pytest

from modelyard.agent.gateway.board import COLUMNS, ROWS, Board, Seat


def sit(board: Board, generation: int = 0, version: int = 0) -> Seat:
    seat = board.sit(generation, version)
    assert seat is not None
    return seat


class Other:
    """A process that does something at a board, and lives until it is killed."""

    def __init__(self, act: Callable[[], None]) -> None:
        done, tell = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            act()
            os.write(tell, b"!")
            signal.pause()
            os._exit(0)
        os.close(tell)
        assert os.read(done, 1) == b"!"
        os.close(done)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def test_what_each_has_is_summed_by_name() -> None:
    board = Board()
    one, two = sit(board), sit(board)
    one.look()
    mine, theirs = one.tally("a"), two.tally("a")
    mine.set(3)
    theirs.set(4)
    assert (mine.own, mine.all(), theirs.all(), board.total("a")) == (3, 7, 7, 7)
    assert mine.others() == [(4, two.column)]
    assert board.total("b") == 0
    assert one.tally("b").all() == 0


def test_one_process_has_one_number_of_a_name() -> None:
    seat = sit(Board())
    one, again = seat.tally("a"), seat.tally("a")
    one.set(2)
    seat.drop(one)
    assert again.own == seat.board.total("a") == 2
    seat.drop(again)
    again.set(5)
    assert seat.board.total("a") == 0
    assert list(seat.board.rows()) == []


def test_a_row_that_nobody_uses_is_for_another_name() -> None:
    seat = sit(Board())
    for number in range(ROWS + 10):
        tally = seat.tally(f"row {number}", f"label {number}")
        tally.set(number)
        assert [(label, total) for _, label, total in seat.board.rows()] == [
            (f"label {number}", number)
        ]
        seat.drop(tally)


def test_a_full_table_counts_apart(caplog: pytest.LogCaptureFixture) -> None:
    seat = sit(Board())
    tallies = [seat.tally(str(number)) for number in range(ROWS + 1)]
    tallies[-1].set(7)
    assert tallies[-1].all() == 7
    assert seat.board.total(str(ROWS)) == 0
    assert "the table is full" in caplog.text
    seat.drop(tallies[0])
    assert seat.tally("another").all() == 0


def test_there_is_a_place_for_so_many_and_a_left_one_is_free_again() -> None:
    board = Board()
    seats = [sit(board) for _ in range(COLUMNS)]
    assert board.sit(0, 0) is None
    seats[5].tally("a").set(1)
    seats[5].leave()
    assert board.total("a") == 0
    assert sit(board).column == 5


def test_it_tells_what_each_serves() -> None:
    board = Board()
    one, _ = sit(board, version=3), sit(board, version=2)
    assert sorted(board.versions()) == [2, 3]
    one.serves(4)
    assert sorted(board.versions()) == [2, 4]


def test_it_tells_how_often_a_process_has_said_that_it_gets_on() -> None:
    board = Board()
    seat = sit(board)
    assert board.beats() == {os.getpid(): 0}
    seat.beat()
    seat.beat()
    assert board.beats() == {os.getpid(): 2}
    seat.leave()
    assert board.beats() == {}


def test_connections_are_left_to_who_has_fewer_and_takes_more() -> None:
    board = Board()
    one, two = sit(board), sit(board)
    one.look()
    one.accepts(more=True)
    one.add(5)
    assert not one.is_exceeded()  # the other takes none yet
    two.accepts(more=True)
    assert one.is_exceeded()
    two.add(4)
    assert not one.is_exceeded()
    two.add(-4)
    two.accepts(more=False)
    two.add(-0)
    assert not one.is_exceeded()


class TestProcesses:
    def test_what_a_killed_one_had_in_hand_is_cleared(self) -> None:
        board = Board.make()
        mine = sit(board)
        tally = mine.tally("a")
        tally.set(1)
        other = Other(lambda: sit(board).tally("a").set(2))
        mine.look()
        board.clear_dead()
        assert tally.all() == board.total("a") == 3
        other.kill()
        board.clear_dead()
        mine.look()
        assert tally.all() == board.total("a") == 1
        assert board.columns() == [mine.column]

    def test_the_place_of_a_killed_one_is_taken_without_its_numbers(self) -> None:
        board = Board.make()
        other = Other(lambda: sit(board).tally("a").set(2))
        other.kill()
        assert sit(board).column == 0
        assert board.total("a") == 0

    def test_one_wakes_another(self) -> None:
        board = Board.make()
        mine = sit(board)
        bell = mine.bell
        assert bell is not None
        mine.look()
        assert not select.select([bell], [], [], 0)[0]
        other = Other(lambda: board.ring(mine.column))
        assert select.select([bell], [], [], 30)[0]
        mine.look()
        assert not select.select([bell], [], [], 0)[0]
        other.kill()

    def test_rows_are_shared_by_processes_that_name_them_at_once(self) -> None:
        board = Board.make()
        names = [f"row {number}" for number in range(50)]

        def use() -> None:
            seat = sit(board)
            for name in names:
                seat.tally(name).set(1)

        others = [Other(use) for _ in range(3)]
        assert [board.total(name) for name in names] == [3] * 50
        for other in others:
            other.kill()
