"""How many requests one worker takes, and how many of them may wait, and for how long."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from modelyard_runtime.config import Config
from modelyard_runtime.http.messages import Response
from modelyard_runtime.scoring import Call

_RETRY_AFTER = (b"retry-after", b"1")
_BUSY = "The replica has no room for more requests now; try again."
_WAITED = "The request waited too long for its turn; try again."


class Admission:
    """Counts the calls of a lane, and refuses those beyond the limits.

    Each count has one writer: the event loop, or whichever thread scores.

    Args:
        config: Has the limits.
        refused: Is told the limit that was reached, as metrics call it.
    """

    __slots__ = (
        "_most_in_flight",
        "_most_waiting",
        "_refused",
        "begun",
        "over",
        "patience",
        "taken",
    )

    def __init__(self, config: Config, refused: Callable[[str], None]) -> None:
        self._most_in_flight = config.max_in_flight
        self._most_waiting = config.max_queue
        self.patience = config.max_queue_wait or inf
        """Seconds that a call may wait for its turn."""
        self._refused = refused
        self.taken = 0
        """Calls that were taken."""
        self.begun = 0
        """Calls whose turn has come, or that were given up before."""
        self.over = 0
        """Calls that need no more work."""

    def gauges(self) -> tuple[int, int]:
        """How many calls are in flight, and how many of them wait."""
        return self.taken - self.over, max(self.taken - self.begun, 0)

    def take(self, call: Call) -> Response | None:
        """Take a call, or say why not."""
        if self.taken - self.over >= self._most_in_flight:
            return self._refuse(call, "in_flight", _BUSY)
        # One that nothing stands before does not wait, although it has not begun.
        if self.taken - self.begun > self._most_waiting:
            return self._refuse(call, "queue_length", _BUSY)
        self.taken += 1
        return None

    def refuse_late(self, call: Call) -> Response:
        """The answer to a call that has waited too long."""
        return self._refuse(call, "queue_wait", _WAITED)

    def _refuse(self, call: Call, reason: str, message: str) -> Response:
        self._refused(reason)
        return call.refuse(503, message, _RETRY_AFTER)
