"""When to try again what failed. Pure: time is an argument."""

from __future__ import annotations


class Backoff:
    """Doubles the pause after each failure in a row; in seconds of any clock."""

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self.failures = 0
        """In a row."""
        self.next_try = float("-inf")

    def due(self, now: float) -> bool:
        """Whether the pause is over."""
        return now >= self.next_try

    def failed(self, now: float) -> float:
        """Note a failure; returns the pause that follows."""
        pause = min(self._first * 2.0 ** min(self.failures, 32), self._longest)
        self.failures += 1
        self.next_try = now + pause
        return pause

    def succeeded(self) -> None:
        """Begin anew."""
        self.failures = 0
        self.next_try = float("-inf")
