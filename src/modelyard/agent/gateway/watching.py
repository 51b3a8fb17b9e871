"""Tells which processes of a gateway hang: stopped, or in a loop that never returns."""

from __future__ import annotations

from collections.abc import Mapping

PATIENCE = 10.0
"""Seconds without a sign of life after which a process counts as hung."""

_LONGEST_TURN = 0.5  # seconds; of what is more, nobody knows whether anybody could run


class Watch:
    """Counts for how long each process has said nothing.

    Only the time in which the one who watches ran itself is counted: on a machine that slept, and
    in a container that was frozen, everybody is silent for as long.

    Args:
        patience: Seconds after which a silent process counts as hung.
    """

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._ran = 0.0
        self._looked: float | None = None
        self._heard: dict[int, tuple[int, float]] = {}
        """By process: the last number it told, and how long this one had run by then."""

    def hung(self, now: float, beats: Mapping[int, int]) -> list[int]:
        """The processes that hang, by what each tells: a number that moves while it gets on.

        To be asked often. `now` is the time of a monotonic clock, in seconds.
        """
        if self._looked is not None:
            self._ran += min(now - self._looked, _LONGEST_TURN)
        self._looked = now
        heard = {}
        for pid, beat in beats.items():
            last = self._heard.get(pid)
            heard[pid] = last if last and last[0] == beat else (beat, self._ran)
        self._heard = heard
        silent = [pid for pid, (_, since) in heard.items() if self._ran - since > self._patience]
        for pid in silent:
            heard[pid] = beats[pid], self._ran  # not told again at once
        return silent
