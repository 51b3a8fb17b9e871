"""Decides from how long calls take whether they may hold up the event loop."""

from __future__ import annotations

import resource
from collections.abc import Callable
from time import monotonic

FAST, SLOW = 0.0005, 0.005
"""Seconds: what a fast call takes at most, and a slow one at least."""
FAST_TURN, SLOW_TURN = 0.004, 0.020
"""The same for several requests that are scored in one turn of the event loop."""
FIRST_TRIAL, LONGEST_TRIAL = 20, 20_000
"""Fast calls until they may be made in the loop; twice as many after every slow one that held it
up, until there was none for `FORGIVEN` seconds."""
FORGIVEN = 60.0
MOST_ODD = 32
"""Calls in a row that may be neither fast nor slow."""
CLOSE_LOOKS = 200
"""Calls that are measured after one that seemed slow."""

_THREAD = getattr(resource, "RUSAGE_THREAD", None)
"""Linux alone counts the context switches of threads."""

Usage = tuple[float, int]
"""Processor time of a thread in seconds, and how often it has waited for something."""


class Pace:
    """What is known of the time that `run` takes; slow until it has shown that it is fast.

    Time alone deceives on a busy machine. Beside the event loop a call also waits for the
    interpreter, which the loop holds: there its processor time must be short, and it must not take
    long more often than now and then. In the loop, a call that took long is slow if it has worked
    or waited, and not if another process had the processor. To tell, what calls use is measured
    from the next one on: always to do so would cost more than a fast call.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._trial = FIRST_TRIAL
        self._merit = self._odd_in_a_row = 0
        self._last_slow = -FORGIVEN
        self.close_looks = 0
        """How many calls are still to be measured with `usage`."""

    def proves_fast(self, seconds: float, cpu_seconds: float, requests: int = 1) -> bool:
        """After a call beside the event loop: whether such calls may be made in the loop."""
        fast, slow = (FAST, SLOW) if requests == 1 else (FAST_TURN, SLOW_TURN)
        if cpu_seconds >= fast:
            self._merit = 0
        elif seconds >= slow:
            self._merit = max(self._merit - 2, 0)
        else:
            self._merit += 1
        return self._merit >= self._trial

    def proves_slow(self, seconds: float, requests: int = 1, used: Usage | None = None) -> bool:
        """After a call in the event loop: whether such calls may no longer be made there.

        Args:
            seconds: That it took.
            requests: For how many it was.
            used: What it used, if that was measured.
        """
        fast, slow = (FAST, SLOW) if requests == 1 else (FAST_TURN, SLOW_TURN)
        if used is not None:
            self.close_looks -= 1
            worked, waits = used
            if not waits:
                seconds = worked
        if seconds < fast:
            self._odd_in_a_row = 0
            return False
        self._odd_in_a_row += 1
        if seconds < slow and self._odd_in_a_row < MOST_ODD:
            return False
        if used is None:
            self.close_looks = CLOSE_LOOKS
            return False
        return self._begin_trial()

    def _begin_trial(self) -> bool:
        now = self._clock()
        is_repeated = now - self._last_slow < FORGIVEN
        self._trial = min(2 * self._trial, LONGEST_TRIAL) if is_repeated else FIRST_TRIAL
        self._last_slow = now
        self._merit = self._odd_in_a_row = self.close_looks = 0
        return True


def usage() -> Usage:
    """What this thread has used so far; on systems that do not tell, it waits ever more often."""
    if _THREAD is None:
        return 0.0, int(monotonic() * 1e6)
    used = resource.getrusage(_THREAD)
    return used.ru_utime + used.ru_stime, used.ru_nvcsw


def used_since(before: Usage) -> Usage:
    """What this thread has used since."""
    now = usage()
    return now[0] - before[0], now[1] - before[1]
