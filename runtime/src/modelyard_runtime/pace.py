"""Decides from how long calls take whether they may hold up the event loop."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

FAST, SLOW = 0.0005, 0.005
"""Seconds: what a fast call takes at most, and a slow one at least."""
FAST_TURN, SLOW_TURN = 0.004, 0.020
"""The same for several requests that are scored in one turn of the event loop."""
FIRST_TRIAL, LONGEST_TRIAL = 20, 20_000
"""Calls in a row that must have been fast; twice as many after every slow one that held up the
loop, until there was none for `FORGIVEN` seconds."""
FORGIVEN = 60.0
MOST_ODD = 32
"""Calls in a row that may be neither fast nor slow."""


class Pace:
    """What is known of the time that `run` takes; slow until it has shown that it is fast.

    Beside the event loop a call also waits for the interpreter, which the loop holds: then only its
    processor time must be short, and it must not be slow.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._trial = FIRST_TRIAL
        self._fast_in_a_row = self._odd_in_a_row = 0
        self._last_slow = -FORGIVEN

    def proves_fast(self, seconds: float, cpu_seconds: float, requests: int = 1) -> bool:
        """After a call beside the event loop: whether such calls may be made in the loop."""
        fast, slow = (FAST, SLOW) if requests == 1 else (FAST_TURN, SLOW_TURN)
        if cpu_seconds < fast and seconds < slow:
            self._fast_in_a_row += 1
            return self._fast_in_a_row >= self._trial
        self._fast_in_a_row = 0
        return False

    def proves_slow(self, seconds: float, requests: int = 1) -> bool:
        """After a call in the event loop: whether such calls may no longer be made there."""
        fast, slow = (FAST, SLOW) if requests == 1 else (FAST_TURN, SLOW_TURN)
        if seconds < fast:
            self._odd_in_a_row = 0
            return False
        self._odd_in_a_row += 1
        if seconds < slow and self._odd_in_a_row < MOST_ODD:
            return False
        self._begin_trial()
        return True

    def _begin_trial(self) -> None:
        now = self._clock()
        is_repeated = now - self._last_slow < FORGIVEN
        self._trial = min(2 * self._trial, LONGEST_TRIAL) if is_repeated else FIRST_TRIAL
        self._last_slow = now
        self._fast_in_a_row = self._odd_in_a_row = 0
