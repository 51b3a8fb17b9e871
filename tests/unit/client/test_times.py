from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from modelyard.client.times import as_text, so_long_ago
from modelyard.errors import InvalidRequest


def test_a_length_of_time_becomes_a_moment() -> None:
    before = datetime.now(UTC)
    found = so_long_ago("7d")
    assert before <= found + timedelta(days=7) <= datetime.now(UTC)
    assert so_long_ago(60) > found


@pytest.mark.parametrize("last", ["soon", "7", "9999999999d", float("inf")])
def test_what_is_no_length_of_time_is_refused(last: float | str) -> None:
    with pytest.raises(InvalidRequest, match="last"):
        so_long_ago(last)


def test_a_moment_is_told_with_its_zone() -> None:
    assert as_text(None) is None
    text = as_text(datetime(2026, 1, 2, 12))
    assert text is not None
    assert datetime.fromisoformat(text).tzinfo is not None


def test_a_text_is_a_time_or_how_long_ago_it_was() -> None:
    told = as_text("7d")
    assert told is not None
    ago = datetime.now(UTC) - datetime.fromisoformat(told)
    assert timedelta(days=7) <= ago < timedelta(days=7, hours=1)
    moment = datetime(2026, 11, 28, 12, tzinfo=UTC)
    assert as_text(moment.isoformat()) == as_text(moment)
    with pytest.raises(InvalidRequest, match="the time is not valid"):
        as_text("soon")
