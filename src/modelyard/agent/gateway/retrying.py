"""Which requests may be sent to a second replica though a first one may have run them. Pure."""

from __future__ import annotations

from modelyard_runtime.http.server import Head

_IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"))
_SHARE = 0.2
_FLOOR = 10
_SPAN = 5.0  # seconds; what is recent is in this span or in the one before


def is_repeatable(head: Head) -> bool:
    """Whether to run it twice is as good as once: by its method, or because its caller says so."""
    return head.method in _IDEMPOTENT or head.headers.get(b"idempotency-key") is not None


class RetryBudget:
    """So that retries never multiply an outage: no more than 20 % of recent requests, or 10.

    Attributes:
        asked: Requests in this span; whoever has one adds it.
    """

    __slots__ = ("_asked_before", "_ends", "_spent", "_spent_before", "asked")

    def __init__(self) -> None:
        self.asked = self._asked_before = 0
        self._spent = self._spent_before = 0
        self._ends = 0.0

    def look(self, now: float) -> None:
        """Forget what is not recent; to be called now and then.

        `now` is the time of a monotonic clock, in seconds.
        """
        if now >= self._ends:
            self._ends = now + _SPAN
            self._asked_before, self.asked = self.asked, 0
            self._spent_before, self._spent = self._spent, 0

    def spend(self) -> bool:
        """Whether one more request may be sent again."""
        asked, spent = self.asked + self._asked_before, self._spent + self._spent_before
        if spent >= max(_SHARE * asked, _FLOOR):
            return False
        self._spent += 1
        return True
