"""How long a connection waits for its client, and how fast the client must be."""

from __future__ import annotations

import asyncio

from modelyard_runtime.http.messages import Limits
from modelyard_runtime.http.reader import BODY, IDLE

NEVER = float("inf")

_ANSWERING = 3
"""What a deadline is for, besides the phases of a reader: there is none."""
_LINGER, _LONGEST_LINGER = 1.0, 30.0
"""Seconds to read and throw away what a refused client still sends, since its last byte and in all:
closing at once would reset the connection, and the client would never see the answer."""


class Patience:
    """What the client of one connection may take its time for; times are the event loop's.

    Attributes:
        deadline: When it must have done what is waited for.
    """

    __slots__ = ("_body_left", "_last_deadline", "_limits", "_phase", "_progress", "deadline")

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self._phase = IDLE
        # The first request may not dawdle as one after another may.
        self.deadline = now + limits.header_time
        self._last_deadline = NEVER
        self._body_left = 0.0
        self._progress = _Progress(limits, NEVER)

    def await_phase(self, phase: int, now: float, *, streams: bool) -> None:
        """Wait until a phase of the reader is over; the same phase goes on."""
        if phase == self._phase:
            return
        limits = self._limits
        body_time = self._body_left if streams else limits.body_time
        self._phase = phase
        self.deadline = now + (limits.idle_time, limits.header_time, body_time)[phase]
        if phase == BODY:
            self._progress = _Progress(limits, now)

    def received(self, count: int) -> None:
        """So many bytes have come."""
        self._progress.moved += count

    def answering(self) -> None:
        """There is a request to answer. What was waited for is there."""
        self._phase = _ANSWERING

    def await_answer(self) -> None:
        """It takes as long as it takes; of a streamed body the rest may still be on its way."""
        self.deadline = NEVER
        self._body_left = self._limits.body_time

    def hold_body(self, now: float) -> None:
        """No more of a streamed body is taken for now, and that time does not count."""
        if self._phase == BODY:
            self._body_left = self.deadline - now
            self._phase, self.deadline = _ANSWERING, NEVER

    def hurry(self, at: float) -> None:
        """Wait until `at` and no longer."""
        self.deadline = min(self.deadline, at)

    def linger(self, now: float) -> None:
        """The connection ends, and only lets its client read what it was told."""
        self._phase = _ANSWERING
        self.deadline = now + _LINGER
        self._last_deadline = now + _LONGEST_LINGER

    def linger_on(self, now: float) -> None:
        """The client still sends."""
        self.deadline = min(now + _LINGER, self._last_deadline)

    def is_over(self, now: float) -> bool:
        """Whether what is waited for ought to be there, or comes too slowly."""
        return now > self.deadline or (self._phase == BODY and self._progress.is_too_slow(now))


class Uptake:
    """How a client takes what it has been sent, from when that waits for it in a buffer here."""

    __slots__ = ("_progress", "_transport", "_unread")

    def __init__(self, transport: asyncio.WriteTransport, limits: Limits, now: float) -> None:
        self._transport = transport
        self._progress = _Progress(limits, now)
        self._unread = transport.get_write_buffer_size()

    def is_too_slow(self, now: float) -> bool:
        """Whether the client takes less than it must."""
        unread = self._transport.get_write_buffer_size()
        self._progress.moved += max(self._unread - unread, 0)
        self._unread = unread
        return self._progress.is_too_slow(now)


class _Progress:
    """Whether bytes move at the least rate, in every stretch of time for itself."""

    __slots__ = ("_limits", "_until", "moved")

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self._until = now + limits.stall_time
        self.moved = 0

    def is_too_slow(self, now: float) -> bool:
        if now < self._until:
            return False
        if self.moved < self._limits.least_rate * self._limits.stall_time:
            return True
        self._until = now + self._limits.stall_time
        self.moved = 0
        return False
