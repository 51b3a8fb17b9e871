from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.agent.making import an_id

from modelyard.agent.shipper import ReplicaLog, Shipper
from modelyard.agent.supervisor.log import log_file
from modelyard.errors import Conflict, ServerUnreachable, Unavailable
from modelyard.schemas import LogReceipt, LogSegment


class Home:
    """A server that keeps pieces as the real one does, and loses answers when told to."""

    def __init__(self) -> None:
        self.epoch = -1
        self.pieces: list[str] = []
        self.text = ""
        self.lose: list[bool] = []
        """For each next request: whether its answer gets lost."""

    def send_log(self, segment: LogSegment) -> LogReceipt:
        if segment.epoch < self.epoch:
            raise Conflict("another agent took over")
        if segment.epoch > self.epoch:
            self.epoch, self.pieces = segment.epoch, []
        if segment.sequence == len(self.pieces):
            self.pieces.append(segment.text)
            self.text += segment.text
        if self.lose and self.lose.pop(0):
            raise ServerUnreachable("the answer got lost")
        return LogReceipt(next=len(self.pieces))


class Replica:
    """A replica's log, as its supervisor writes it."""

    def __init__(self, folder: Path) -> None:
        self.log = ReplicaLog(an_id("digits"), "digits-0", folder / "log")
        self.log.folder.mkdir(parents=True)

    def write(self, text: str, file: int = 1) -> None:
        with log_file(self.log.folder, file).open("a") as log:
            log.write(text)

    @property
    def logs(self) -> dict[str, ReplicaLog]:
        return {self.log.replica: self.log}


@pytest.fixture
def replica(tmp_path: Path) -> Replica:
    return Replica(tmp_path)


@pytest.fixture
def home() -> Home:
    return Home()


def test_whole_lines_are_sent(replica: Replica, home: Home) -> None:
    shipper = Shipper(home)
    replica.write("one\ntwo\nthr")
    shipper.pump(replica.logs, 0.0)
    assert home.text == "one\ntwo\n"
    replica.write("ee\n")
    shipper.pump(replica.logs, 0.0)
    assert home.pieces == ["one\ntwo\n", "three\n"]


def test_log_is_finished_when_everything_has_arrived(replica: Replica, home: Home) -> None:
    shipper = Shipper(home)
    assert shipper.finished(replica.log)
    replica.write("one\n")
    assert not shipper.finished(replica.log)
    shipper.pump(replica.logs, 0.0)
    assert shipper.finished(replica.log)
    replica.write("two\n")
    assert not shipper.finished(replica.log)


def test_long_log_is_cut_into_pieces_of_whole_lines(replica: Replica, home: Home) -> None:
    text = "".join(f"{number:0100d}\n" for number in range(6000))
    replica.write(text)
    Shipper(home).pump(replica.logs, 0.0)
    assert home.text == text
    assert len(home.pieces) > 1
    assert all(piece.endswith("\n") for piece in home.pieces)


def test_lost_answer_does_no_harm(replica: Replica, home: Home) -> None:
    home.lose = [True]
    shipper = Shipper(home)
    replica.write("one\n")
    with pytest.raises(Unavailable):
        shipper.pump(replica.logs, 0.0)
    replica.write("two\n")
    shipper.pump(replica.logs, 0.0)
    assert home.pieces == ["one\n", "two\n"]


def test_agent_that_died_before_the_answer_sends_the_same_piece(
    replica: Replica, home: Home
) -> None:
    home.lose = [True]
    replica.write("one\n")
    with pytest.raises(Unavailable):
        Shipper(home).pump(replica.logs, 0.0)
    replica.write("two\n")
    Shipper(home).pump(replica.logs, 0.0)
    assert home.pieces == ["one\n", "two\n"]


def test_log_goes_on_in_the_next_file(replica: Replica, home: Home) -> None:
    shipper = Shipper(home)
    replica.write("one\n")
    shipper.pump(replica.logs, 0.0)
    replica.write("two\n")
    replica.write("three\n", file=2)
    shipper.pump(replica.logs, 0.0)
    assert home.text == "one\ntwo\nthree\n"


def test_lines_deleted_before_they_were_sent_are_told(replica: Replica, home: Home) -> None:
    shipper = Shipper(home)
    replica.write("one\n")
    shipper.pump(replica.logs, 0.0)
    log_file(replica.log.folder, 1).unlink()
    replica.write("nine\n", file=3)
    shipper.pump(replica.logs, 0.0)
    assert home.text == "one\n[agent] lines before this one were lost\nnine\n"


def test_piece_deleted_while_on_its_way_is_told(replica: Replica, home: Home) -> None:
    home.lose = [True]
    shipper = Shipper(home)
    replica.write("one\n")
    with pytest.raises(Unavailable):
        shipper.pump(replica.logs, 0.0)
    log_file(replica.log.folder, 1).unlink()
    replica.write("two\n", file=2)
    shipper.pump(replica.logs, 0.0)
    assert home.text == "one\n[agent] lines before this one were lost\ntwo\n"


@pytest.mark.parametrize("damage", ["", "{", '{"epoch": 1, "what": 2}', "[]", '{"epoch": "x"}'])
def test_lost_position_begins_a_new_epoch(replica: Replica, home: Home, damage: str) -> None:
    home.epoch, home.pieces = 5, ["earlier\n"] * 9
    replica.write("one\n")
    replica.log.position.write_text(damage)
    Shipper(home).pump(replica.logs, 0.0)
    assert home.epoch > 5
    assert home.pieces == ["one\n"]


def test_server_that_lost_its_state_gets_a_new_epoch(replica: Replica, home: Home) -> None:
    shipper = Shipper(home)
    replica.write("one\n")
    shipper.pump(replica.logs, 0.0)
    first, home.pieces = home.epoch, []
    replica.write("two\n")
    with pytest.raises(Unavailable):
        shipper.pump(replica.logs, 0.0)
    shipper.pump(replica.logs, 0.0)
    assert home.epoch > first
    assert home.pieces == ["two\n"]


def test_agent_with_an_old_position_loses_nothing(replica: Replica, home: Home) -> None:
    shipper = Shipper(home)
    for line in ("one\n", "two\n", "three\n"):
        replica.write(line)
        shipper.pump(replica.logs, 0.0)
    position = json.loads(replica.log.position.read_text())
    replica.log.position.write_text(json.dumps({**position, "sequence": 1, "start": 4, "end": 8}))
    again = Shipper(home)
    with pytest.raises(Unavailable):
        again.pump(replica.logs, 0.0)
    again.pump(replica.logs, 0.0)
    assert home.text == "one\ntwo\nthree\ntwo\nthree\n"


def test_refused_log_waits_and_does_not_hold_up_others(tmp_path: Path, home: Home) -> None:
    class Picky(Home):
        def send_log(self, segment: LogSegment) -> LogReceipt:
            if segment.replica == "digits-0":
                raise Conflict("not this one")
            return super().send_log(segment)

    picky = Picky()
    refused, other = Replica(tmp_path / "a"), Replica(tmp_path / "b")
    refused.write("one\n")
    other.write("two\n")
    logs = {**refused.logs, "other": ReplicaLog(an_id("digits"), "other", other.log.folder)}
    Shipper(picky).pump(logs, 0.0)
    assert picky.text == "two\n"


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("write"), st.integers(1, 3)),
            st.tuples(st.just("pump"), st.booleans()),
            st.tuples(st.just("restart"), st.none()),
        ),
        max_size=30,
    )
)
@settings(max_examples=60, deadline=None)
def test_every_line_arrives_once_whatever_gets_lost(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[str, int | bool | None]]
) -> None:
    replica, home = Replica(tmp_path_factory.mktemp("log")), Home()
    shipper, written = Shipper(home), ""
    for event, argument in events:
        if event == "write":
            line = f"line {len(written)}\n"
            replica.write(line, file=1 + len(written) // 60)
            written += line
        elif event == "restart":
            shipper = Shipper(home)
        else:
            home.lose = [bool(argument)]
            with contextlib.suppress(Unavailable):
                shipper.pump(replica.logs, 0.0)
    home.lose = []
    shipper.pump(replica.logs, 0.0)
    assert home.text == written
    assert shipper.finished(replica.log)
