"""When to say that something with an end is about to end. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

WARNINGS = (timedelta(days=1), timedelta(days=7), timedelta(days=30))
"""Before the end: the word changes at each, so that each is news."""
_SHARE = 3
"""A warning must not take up more than this part of a life: short lives have later ones."""


class Life(NamedTuple):
    """When something begins and ends, in UTC."""

    begins: datetime
    ends: datetime

    def told(self, now: datetime) -> str:
        """That it has ended or is about to, for a sentence; empty while there is time."""
        within = next((left for left in WARNINGS if self.ends - now <= left), None)
        at = f"on {self.ends:%Y-%m-%d at %H:%M} UTC"
        if self.ends <= now:
            return f"has ended: {at}"
        if within is None or within * _SHARE > self.ends - self.begins:
            return ""
        return f"ends within {within.days} day{'s' * (within.days > 1)}: {at}"
