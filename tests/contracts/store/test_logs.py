"""What the store of replicas' logs must do, on whatever database."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from tests.factories import AGENT, add_service

from modelyard.errors import Conflict
from modelyard.schemas import LogSegment
from modelyard.store import Transaction, logs


@pytest.fixture
def service(tx: Transaction) -> UUID:
    return add_service(tx).id


def send(
    tx: Transaction, service: UUID, sequence: int, text: str, replica: str = "r1", epoch: int = 1
) -> int:
    segment = LogSegment(
        service=service, replica=replica, epoch=epoch, sequence=sequence, text=text
    )
    return tx.logs.add_segment(AGENT, segment)


def read(
    tx: Transaction, service: UUID, replica: str | None = None, after: int = 0, limit: int = 1000
) -> list[tuple[int, str, str]]:
    lines = tx.logs.read(service, replica, after, limit)
    return [(line.sequence, line.source, line.text) for line in lines]


def test_lines_say_which_request_they_belong_to(tx: Transaction, service: UUID) -> None:
    stamp = "2026-11-27T09:30:00.000Z"
    text = f"{stamp} request a-1: x: y\n{stamp} request : z\nrequest b: no time\nrequest\n"
    send(tx, service, 0, text)
    lines = tx.logs.read(service, None, 0, 10)
    assert [(line.request, line.text) for line in lines] == [
        *(("a-1", "x: y"), ("", "request : z"), ("b", "no time"), ("", "request")),
    ]


class TestAddSegment:
    def test_answers_what_is_expected_next(self, tx: Transaction, service: UUID) -> None:
        assert send(tx, service, 0, "a\n") == 1
        assert send(tx, service, 1, "b\n") == 2
        assert send(tx, service, 0, "again\n") == 2
        assert send(tx, service, 7, "gap\n") == 2
        assert [text for _, _, text in read(tx, service)] == ["a", "b"]

    def test_begins_again_with_a_new_epoch(self, tx: Transaction, service: UUID) -> None:
        send(tx, service, 0, "a\n")
        send(tx, service, 1, "b\n")
        assert send(tx, service, 2, "gap\n", epoch=2) == 0
        assert send(tx, service, 0, "c\n", epoch=2) == 1
        with pytest.raises(Conflict, match="at epoch 2 already"):
            send(tx, service, 2, "stale\n", epoch=1)
        assert [text for _, _, text in read(tx, service)] == ["a", "b", "c"]

    def test_acknowledges_and_drops_what_belongs_to_nobody(
        self, tx: Transaction, service: UUID
    ) -> None:
        assert send(tx, uuid4(), 3, "a\n") == 4
        segment = LogSegment(service=service, replica="r1", epoch=1, sequence=5, text="a\n")
        assert tx.logs.add_segment("stranger", segment) == 6
        assert read(tx, service) == []

    def test_takes_any_text(self, tx: Transaction, service: UUID) -> None:
        send(tx, service, 0, "")
        send(tx, service, 1, "\n\n")
        send(tx, service, 2, "nul \0\nform \x0c feed\u2028same line\rhere\nunfinished")
        assert [text for _, _, text in read(tx, service)] == [
            "",
            "",
            "nul \ufffd",
            "form \x0c feed\u2028same line\rhere",
            "unfinished",
        ]

    def test_drops_the_oldest_above_the_bound(
        self, tx: Transaction, service: UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(logs, "MOST_KEPT", 10)
        for sequence in range(5):
            send(tx, service, sequence, f"{sequence}234\n")
        assert [text for _, _, text in read(tx, service)] == ["3234", "4234"]
        assert tx.logs.dropped(service, "r1") == 12
        assert send(tx, service, 5, "x\n") == 6

    def test_keeps_the_replicas_that_wrote_last(
        self, tx: Transaction, service: UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(logs, "MOST_REPLICAS", 2)
        send(tx, service, 0, "a\n", replica="r1")
        send(tx, service, 0, "b\n", replica="r2")
        send(tx, service, 1, "c\n", replica="r1")
        send(tx, service, 0, "d\n", replica="r3")
        assert [(replica, text) for _, replica, text in read(tx, service)] == [
            ("r1", "a"),
            ("r1", "c"),
            ("r3", "d"),
        ]


class TestRead:
    @pytest.fixture(autouse=True)
    def _lines(self, tx: Transaction, service: UUID) -> None:
        send(tx, service, 0, "a\nb\n", replica="r1")
        send(tx, service, 0, "c\n", replica="r2")
        send(tx, service, 1, "d\ne\nf\n", replica="r1")

    def test_numbers_lines_over_all_replicas(self, tx: Transaction, service: UUID) -> None:
        assert read(tx, service) == [
            (1, "r1", "a"),
            (2, "r1", "b"),
            (3, "r2", "c"),
            (4, "r1", "d"),
            (5, "r1", "e"),
            (6, "r1", "f"),
        ]

    def test_resumes_anywhere(self, tx: Transaction, service: UUID) -> None:
        whole = read(tx, service)
        for after in range(8):
            assert read(tx, service, after=after) == whole[after:]
            assert read(tx, service, after=after, limit=2) == whole[after : after + 2]

    def test_of_one_replica(self, tx: Transaction, service: UUID) -> None:
        assert [number for number, _, _ in read(tx, service, "r1", limit=4)] == [1, 2, 4, 5]
        assert read(tx, service, "r2") == [(3, "r2", "c")]
        assert read(tx, service, "r9") == []

    def test_reads_on_past_one_batch_of_pieces(self, tx: Transaction, service: UUID) -> None:
        for sequence in range(2, 40):
            send(tx, service, sequence, f"{sequence}\n", replica="r1")
        assert len(read(tx, service)) == 44
        assert len(read(tx, service, "r1", limit=30)) == 30

    @pytest.mark.parametrize(
        ("replica", "tail", "position"),
        [
            (None, 1, 5),
            (None, 3, 3),
            (None, 4, 2),
            (None, 5, 1),
            (None, 6, 0),
            (None, 99, 0),
            (None, 0, 6),
            ("r1", 3, 3),
            ("r1", 4, 1),
            ("r2", 1, 2),
            ("r2", 9, 0),
            ("r9", 5, 0),
        ],
    )
    def test_position_of_the_last_lines(
        self, tx: Transaction, service: UUID, replica: str | None, tail: int, position: int
    ) -> None:
        found = tx.logs.position(service, replica, tail)
        assert found == position
        last = read(tx, service, replica)[-tail:] if tail else []
        assert read(tx, service, replica, after=found) == last
