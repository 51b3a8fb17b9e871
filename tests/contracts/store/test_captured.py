"""What the store of captured records must do, on whatever database."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from tests.factories import AGENT, WORKSPACE, digest_of

from modelyard.domain.captured import Segment, Tally
from modelyard.errors import Conflict
from modelyard.store import Transaction

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _agent(tx: Transaction) -> None:
    tx.agents.ensure(WORKSPACE, AGENT)


def segment(name: str, **changes: Any) -> Segment:
    fields: dict[str, Any] = {
        "name": name,
        "service": UUID(int=1),
        "service_name": "digits",
        "model": "iris",
        "version": 1,
        "image": "digits:1",
        "date": date(2026, 1, 2),
        "rows": 10,
        "requests": 8,
        "first": NOON,
        "last": NOON + timedelta(minutes=1),
        "size": 100,
        "digest": digest_of(name),
    }
    return Segment(**{**fields, **changes})


def tally(number: int, **changes: Any) -> Tally:
    fields: dict[str, Any] = {
        "id": f"{number:016x}",
        "service": UUID(int=1),
        "service_name": "digits",
        "answered": 0,
        "captured": 0,
        "sampled_out": 0,
        "dropped": 0,
    }
    return Tally(**{**fields, **changes})


class TestSegments:
    def test_are_numbered_and_taken_in_once_by_name(self, tx: Transaction) -> None:
        assert tx.captured.expected(AGENT, 1) == 0
        assert tx.captured.add(WORKSPACE, AGENT, 1, segment("a"))
        assert tx.captured.expected(AGENT, 1) == 1
        assert not tx.captured.add(WORKSPACE, AGENT, 1, segment("a"))
        assert tx.captured.expected(AGENT, 1) == 2
        assert tx.captured.segments(WORKSPACE) == (segment("a"),)

    def test_a_new_epoch_begins_at_0_and_an_old_one_is_refused(self, tx: Transaction) -> None:
        tx.captured.add(WORKSPACE, AGENT, 1, segment("a"))
        assert tx.captured.expected(AGENT, 5) == 0
        with pytest.raises(Conflict, match="at epoch 5 already"):
            tx.captured.expected(AGENT, 4)

    def test_are_found_by_service_and_time(self, tx: Transaction, elsewhere: str) -> None:
        hour = timedelta(hours=1)
        later = segment("b", first=NOON + hour, last=NOON + 2 * hour)
        other = segment("c", service_name="faces")
        for one in (later, segment("a"), other):
            tx.captured.add(WORKSPACE, AGENT, 1, one)
        tx.captured.add(elsewhere, AGENT, 1, segment("a"))
        assert tx.captured.segments(WORKSPACE, "digits") == (segment("a"), later)
        assert tx.captured.segments(WORKSPACE, "digits", since=NOON + hour) == (later,)
        assert tx.captured.segments(WORKSPACE, "digits", until=NOON + hour) == (segment("a"),)
        assert tx.captured.segments(elsewhere) == (segment("a"),)
        assert tx.captured.services(WORKSPACE) == ("digits", "faces")

    def test_requests_of_deleted_ones_stay_counted(self, tx: Transaction) -> None:
        for name in "abc":
            tx.captured.add(WORKSPACE, AGENT, 1, segment(name))
        tx.captured.add(WORKSPACE, AGENT, 1, segment("d", service_name="faces"))
        tx.captured.delete(WORKSPACE, "a")
        tx.captured.delete(WORKSPACE, "d")
        assert set(tx.captured.live()) == {"b", "c"}
        assert tx.captured.deleted_requests(WORKSPACE, "digits") == 8


class TestTallies:
    def test_the_last_word_of_each_writer_counts(self, tx: Transaction) -> None:
        tx.captured.count(WORKSPACE, [tally(1, answered=5, sampled_out=1), tally(2, captured=3)])
        tx.captured.count(WORKSPACE, [tally(1, answered=9, sampled_out=2)])
        tx.captured.count(WORKSPACE, [tally(3, service_name="faces", answered=100)])
        assert tx.captured.totals(WORKSPACE, "digits") == (9, 3, 2, 0)
        assert tx.captured.totals(WORKSPACE, "nothing") == (0, 0, 0, 0)

    def test_what_is_on_its_way_is_known_by_service(self, tx: Transaction) -> None:
        tx.captured.count(WORKSPACE, [tally(1)])
        assert tx.captured.waiting(WORKSPACE, "digits") == (0, None)
        tx.captured.tell_waiting(AGENT, 1, {UUID(int=1): 4, UUID(int=2): 8})
        found = tx.captured.waiting(WORKSPACE, "digits")
        assert found.segments == 4
        assert found.as_of is not None
