from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from modelyard.domain.expiry import Life

ENDS = datetime(2026, 11, 27, tzinfo=UTC)
AT = "on 2026-11-27 at 00:00 UTC"


@pytest.mark.parametrize(
    ("days", "left", "told"),
    [
        (365, 31, ""),
        (365, 30, f"ends within 30 days: {AT}"),
        (365, 7, f"ends within 7 days: {AT}"),
        (365, 0.5, f"ends within 1 day: {AT}"),
        (90, 30, f"ends within 30 days: {AT}"),
        (30, 29, ""),
        (30, 7, f"ends within 7 days: {AT}"),
        (7, 6, ""),
        (7, 1, f"ends within 1 day: {AT}"),
        (1, 0.2, ""),
        (1, 0, f"has ended: {AT}"),
        (365, -3, f"has ended: {AT}"),
    ],
)
def test_the_end_is_told_in_the_last_third_of_a_life(days: float, left: float, told: str) -> None:
    life = Life(ENDS - timedelta(days=days), ENDS)
    assert life.told(ENDS - timedelta(days=left)) == told
