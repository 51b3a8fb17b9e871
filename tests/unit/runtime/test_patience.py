"""How long a connection waits for its client, by a clock of the test."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from modelyard_runtime.http.messages import Limits
from modelyard_runtime.http.patience import Patience, Uptake
from modelyard_runtime.http.reader import BODY, HEAD, IDLE

LIMITS = Limits(header_time=10, body_time=60, idle_time=75, least_rate=1000, stall_time=20)


def awaiting_body(*, streams: bool = False) -> Patience:
    patience = Patience(LIMITS, 0)
    patience.answering()
    if streams:
        patience.await_answer()
    patience.await_phase(BODY, 0, streams=streams)
    return patience


@pytest.mark.parametrize(("phase", "seconds"), [(IDLE, 75), (HEAD, 10), (BODY, 60)])
def test_each_phase_has_its_time(phase: int, seconds: float) -> None:
    patience = Patience(LIMITS, 0)
    patience.answering()
    patience.await_phase(phase, 100, streams=False)
    for at in range(100, 100 + int(seconds) + 1):
        patience.received(1000)
        patience.await_phase(phase, at, streams=False)
        assert not patience.is_over(at)
    assert patience.is_over(100 + seconds + 0.1)


def test_the_first_request_has_the_time_of_headers() -> None:
    assert not Patience(LIMITS, 5).is_over(15)
    assert Patience(LIMITS, 5).is_over(15.1)


def test_an_answer_takes_as_long_as_it_takes() -> None:
    patience = Patience(LIMITS, 0)
    patience.answering()
    patience.await_answer()
    assert not patience.is_over(1e9)


class TestBody:
    def test_may_stop_for_a_while(self) -> None:
        patience = awaiting_body()
        assert not patience.is_over(19.9)
        patience.received(20_000)
        assert not patience.is_over(20)
        assert not patience.is_over(39.9)

    def test_may_not_be_too_slow_although_it_was_fast(self) -> None:
        patience = awaiting_body()
        patience.received(10_000_000)
        assert not patience.is_over(20)
        patience.received(19_999)
        assert patience.is_over(40)

    def test_that_is_not_taken_may_wait(self) -> None:
        patience = awaiting_body(streams=True)
        patience.received(20_000)
        assert not patience.is_over(20)
        patience.hold_body(25)
        assert not patience.is_over(1e6)
        patience.await_phase(BODY, 1e6, streams=True)
        patience.received(20_000)
        assert not patience.is_over(1e6 + 20)
        patience.received(20_000)
        assert patience.is_over(1e6 + 60 - 25 + 1)


class TestLingering:
    def test_goes_on_while_the_client_sends(self) -> None:
        patience = awaiting_body()
        patience.linger(100)
        patience.linger_on(100.9)
        assert not patience.is_over(101.8)
        assert patience.is_over(102)

    def test_ends(self) -> None:
        patience = awaiting_body()
        patience.linger(100)
        patience.linger_on(129.9)
        assert patience.is_over(130.1)


class Buffer:
    """Of a transport."""

    def __init__(self, size: int) -> None:
        self.size = size

    def get_write_buffer_size(self) -> int:
        return self.size


class TestUptake:
    def uptake(self, buffer: Buffer) -> Uptake:
        return Uptake(cast(asyncio.WriteTransport, buffer), LIMITS, 0)

    def test_may_be_slow_and_steady(self) -> None:
        buffer = Buffer(10_000_000)
        uptake = self.uptake(buffer)
        for at in range(1, 1000):
            buffer.size -= 1000
            assert not uptake.is_too_slow(at)

    def test_may_not_be_slower(self) -> None:
        buffer = Buffer(10_000_000)
        uptake = self.uptake(buffer)
        for at in range(1, 20):
            buffer.size -= 999
            assert not uptake.is_too_slow(at)
        buffer.size -= 999
        assert uptake.is_too_slow(20)

    def test_is_not_what_was_added(self) -> None:
        buffer = Buffer(10_000_000)
        uptake = self.uptake(buffer)
        buffer.size -= 20_000
        assert not uptake.is_too_slow(10)
        buffer.size += 500_000
        assert not uptake.is_too_slow(20)
        assert uptake.is_too_slow(40)
