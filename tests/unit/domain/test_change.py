from __future__ import annotations

from datetime import UTC, datetime

from modelyard.domain.change import ChangeOutcome, ServiceChange, altered, former
from modelyard.domain.service import ServiceSettings

PLAIN, WIDE = ServiceSettings(), ServiceSettings(replicas=2, max_queue_wait=5.0)


def change(
    generation: int,
    image: str,
    settings: ServiceSettings = PLAIN,
    outcome: ChangeOutcome = ChangeOutcome.SERVED,
) -> ServiceChange:
    at = datetime(2026, 11, 27, tzinfo=UTC)
    return ServiceChange(
        generation=generation, image=image, settings=settings, at=at, by="owner", outcome=outcome
    )


def test_back_is_to_the_newest_that_served_something_else() -> None:
    history = [
        change(4, "iris:2", WIDE),
        change(3, "iris:3", outcome=ChangeOutcome.FAILED),
        change(2, "iris:2", PLAIN),
        change(1, "iris:1"),
    ]
    assert former(history, "iris:2", WIDE, {}) == history[2]
    assert former(history[2:], "iris:2", PLAIN, {}) == history[3]
    assert former(history[3:], "iris:1", PLAIN, {}) is None
    assert former([], "iris:1", PLAIN, {}) is None


def test_other_shares_are_something_else() -> None:
    shares = {"iris:1": 80, "iris:2": 20}
    split = change(2, "iris:1").model_copy(update={"traffic": shares})
    assert former([split, change(1, "iris:1")], "iris:1", PLAIN, shares) == change(1, "iris:1")
    assert former([split, change(1, "iris:1")], "iris:1", PLAIN, {}) == split


def test_what_a_change_altered_is_named() -> None:
    first, second = change(1, "iris:1"), change(2, "iris:1", WIDE)
    assert altered(second, first) == ("replicas 1 -> 2", "max_queue_wait 10 s -> 5 s")
    roomy = ServiceSettings(memory=2 << 30, sticky="x-user-id", capture=10, judged=False)
    assert altered(change(3, "iris:1", roomy), first) == (
        "memory 1.0 GiB -> 2.0 GiB",
        "sticky none -> x-user-id",
        "capture off -> 10 %",
        "judged yes -> no",
    )
    assert altered(first, None) == ()
