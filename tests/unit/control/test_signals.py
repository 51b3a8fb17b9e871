from __future__ import annotations

import asyncio
import threading

import pytest

from modelyard.control.signals import Signal
from modelyard.errors import Unavailable


def test_a_notice_between_looking_and_waiting_is_not_missed() -> None:
    signal = Signal()
    seen = signal.count
    signal.notify()
    assert signal.wait(seen, timeout=0) == seen + 1


def test_waiting_ends_with_the_time() -> None:
    signal = Signal()
    assert signal.wait(signal.count, timeout=0) == 0


def test_a_waiting_thread_is_woken() -> None:
    signal = Signal()
    counts: list[int] = []
    thread = threading.Thread(target=lambda: counts.append(signal.wait(0, timeout=30)))
    thread.start()
    signal.notify()
    thread.join(30)
    assert counts == [1]


def test_a_waiting_task_is_woken_from_another_thread() -> None:
    signal = Signal()

    async def wait() -> int:
        waiting = asyncio.create_task(signal.wait_async(0, timeout=30))
        await asyncio.sleep(0)
        await asyncio.to_thread(signal.notify)
        return await waiting

    assert asyncio.run(wait()) == 1


def test_a_task_does_not_wait_for_what_has_happened() -> None:
    signal = Signal()
    signal.notify()
    assert asyncio.run(signal.wait_async(0, timeout=30)) == 1


def test_a_task_gives_up_with_the_time() -> None:
    signal = Signal()
    assert asyncio.run(signal.wait_async(0, timeout=0.001)) == 0


def test_who_waits_is_turned_away_when_the_server_stops() -> None:
    signal = Signal()

    async def wait() -> None:
        waiting = asyncio.create_task(signal.wait_async(0, timeout=30))
        await asyncio.sleep(0)
        signal.close()
        with pytest.raises(Unavailable):
            await waiting

    asyncio.run(wait())
