"""What the store must know about blobs, on whatever database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tests.factories import WORKSPACE, add_blob, add_image, add_model, digest_of

from modelyard.domain.values import Reference
from modelyard.errors import NotFound, Unavailable
from modelyard.store import Transaction

NOW = datetime.now(UTC)
GRACE = timedelta(minutes=10)
LATER = NOW + timedelta(days=2)
"""When every lease of these tests has ended."""


def test_sizes_of_what_is_there(tx: Transaction) -> None:
    one, two = add_blob(tx, "1"), add_blob(tx, "22")
    assert tx.blobs.known(one) == 1
    assert tx.blobs.known(digest_of("other")) is None
    assert tx.blobs.sizes([one, two, digest_of("other")]) == {one: 1, two: 2}


def test_unknown_are_those_never_recorded(tx: Transaction) -> None:
    known = add_blob(tx)
    assert tx.blobs.unknown([known, digest_of("stray")]) == {digest_of("stray")}
    tx.blobs.collect(LATER, GRACE)
    assert tx.blobs.collect(LATER + GRACE, GRACE) == [known]
    assert tx.blobs.unknown([known]) == set()


def test_many_digests_at_once(tx: Transaction) -> None:
    digests = [add_blob(tx, str(number)) for number in range(1201)]
    assert len(tx.blobs.hold(digests)) == 1201


def test_a_shorter_lease_does_not_shorten(tx: Transaction) -> None:
    digest = add_blob(tx, lease=timedelta(days=3))
    add_blob(tx, lease=timedelta(hours=1))
    tx.blobs.hold([digest], NOW)
    assert tx.blobs.unreferenced(LATER) == []
    assert tx.blobs.unreferenced(LATER + timedelta(days=2)) == [digest]


def test_hold_lists_what_is_missing(tx: Transaction) -> None:
    known, missing = add_blob(tx), digest_of("other")
    with pytest.raises(NotFound, match="1 blobs are not there") as refused:
        tx.blobs.hold([known, missing])
    assert refused.value.details == {"missing": [missing]}


class TestCollect:
    def test_takes_two_steps(self, tx: Transaction) -> None:
        digest = add_blob(tx)
        assert tx.blobs.collect(LATER, GRACE) == []
        assert tx.blobs.collect(LATER + GRACE / 2, GRACE) == []
        assert tx.blobs.known(digest) is not None
        assert tx.blobs.collect(LATER + GRACE, GRACE) == [digest]
        assert tx.blobs.known(digest) is None

    def test_answers_again_until_it_is_told(self, tx: Transaction) -> None:
        digest = add_blob(tx)
        tx.blobs.collect(LATER, GRACE)
        assert tx.blobs.collect(LATER + GRACE, GRACE) == [digest]
        assert tx.blobs.collect(LATER + GRACE, GRACE) == [digest]
        tx.blobs.forget([digest])
        assert tx.blobs.collect(LATER + GRACE, GRACE) == []

    def test_spares_what_is_leased_or_referred_to(self, tx: Transaction) -> None:
        add_blob(tx, "leased", lease=timedelta(days=30))
        add_image(tx, models=[add_model(tx, content="model")])
        tx.locks.put("key", "", digest_of("environment"), 1, ())
        doomed = [digest for _ in range(3) for digest in tx.blobs.collect(LATER, timedelta(0))]
        assert set(doomed) == {digest_of("score.py")}

    def test_frees_what_a_deleted_model_left(self, tx: Transaction) -> None:
        for content in ("shared", "shared", "own"):
            add_model(tx, content=content)
        tx.models.delete(WORKSPACE, Reference("iris", 1))
        tx.models.delete(WORKSPACE, Reference("iris", 3))
        tx.blobs.collect(LATER, GRACE)
        assert tx.blobs.collect(LATER + GRACE, GRACE) == [digest_of("own")]

    def test_spares_what_was_held_in_between(self, tx: Transaction) -> None:
        held = add_blob(tx, "held")
        recorded = add_blob(tx, "recorded")
        used = add_blob(tx, "used")
        tx.blobs.collect(LATER, GRACE)
        tx.blobs.hold([held], LATER + timedelta(days=1))
        tx.blobs.record(recorded, 8, LATER + timedelta(days=1))
        add_model(tx, content="used")
        assert tx.blobs.collect(LATER + GRACE, GRACE) == []
        assert tx.blobs.sizes([held, recorded, used]).keys() == {held, recorded, used}

    def test_what_is_being_deleted_cannot_come_back(self, tx: Transaction) -> None:
        digest = add_blob(tx)
        tx.blobs.collect(LATER, GRACE)
        tx.blobs.collect(LATER + GRACE, GRACE)
        with pytest.raises(NotFound):
            tx.blobs.hold([digest])
        with pytest.raises(Unavailable, match="is being deleted"):
            tx.blobs.record(digest, 5, LATER)
        tx.blobs.forget([digest])
        tx.blobs.record(digest, 5, LATER)
        assert tx.blobs.known(digest) == 5

    def test_forgets_only_what_was_doomed(self, tx: Transaction) -> None:
        digest = add_blob(tx)
        tx.blobs.forget([digest])
        assert tx.blobs.known(digest) is not None
