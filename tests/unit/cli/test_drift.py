"""Times that are asked about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tests.unit.cli.conftest import Run

from modelyard.cli.drift import _times


@pytest.mark.parametrize(
    ("option", "text", "told"),
    [
        ("--last", "yesterday", "with its unit"),
        ("--window", "yesterday", "no time with two ends"),
        ("--window", "2026-11-28..2026-11-27", "2026-11-27 is not after 2026-11-28"),
        ("--against", "2026-11-28T09:00..2026-11-28T09:00", "is not after"),
    ],
)
def test_a_time_that_is_none_is_a_usage_error(run: Run, option: str, text: str, told: str) -> None:
    assert told in " ".join(run("service", "drift", "digits", option, text, code=2).stderr.split())


def test_a_day_as_the_end_is_in_it() -> None:
    begins = datetime(2026, 11, 28).astimezone(UTC)
    ends = datetime(2026, 11, 29).astimezone(UTC)
    assert _times("2026-11-28..2026-11-28", "--window") == (begins, ends)
    assert _times("2026-11-28T00:00..2026-11-28T06:00", "--window") == (
        begins,
        begins + timedelta(hours=6),
    )
