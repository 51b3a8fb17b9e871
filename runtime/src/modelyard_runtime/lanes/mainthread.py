"""The main thread of a worker, which alone calls a plain `run`, and where the event loop turns.

While calls are fast, the loop turns in the main thread, and they are made between its callbacks.
While they are slow, the main thread does nothing else, and the loop turns in a thread beside it. So
scripts always run in the thread that has called `init()`, and health never waits for a model.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

_PATIENCE = 0.5
"""Seconds at the end for the main thread to come back from a call."""


class MainThread:
    """Runs an event loop until one coroutine is done, in the main thread or beside it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._work: Callable[[], None] | None = None
        self._came_back: Callable[[], None] = lambda: None
        self._is_back = threading.Event()

    def run(self, main: Coroutine[Any, Any, None], leave: Callable[[], None]) -> None:
        """Run the loop until `main` is done.

        Args:
            main: Must return for this to return; raises what it raises.
            leave: Ends the process, when `main` is done and the main thread does not come back.
        """
        task = self._loop.create_task(main)
        task.add_done_callback(lambda _: self._loop.stop())
        while not task.done():
            self._loop.run_forever()
            if self._work is not None and not task.done():
                self._score(self._work, task, leave)
        task.result()

    def step_aside(self, work: Callable[[], None], came_back: Callable[[], None]) -> None:
        """Have the loop go on in a thread beside, while the main thread does some work.

        Called in the loop, and takes effect with its next turn.

        Args:
            work: Called in the main thread, until it returns.
            came_back: Called in the loop as soon as that turns in the main thread again.
        """
        self._work = work
        self._came_back = came_back
        self._loop.stop()

    def _score(
        self, work: Callable[[], None], task: asyncio.Task[None], leave: Callable[[], None]
    ) -> None:
        def turn() -> None:
            self._loop.run_forever()
            if task.done() and not self._is_back.wait(_PATIENCE):
                leave()

        self._work = None
        self._is_back.clear()
        beside = threading.Thread(target=turn, name="event loop", daemon=True)
        beside.start()
        work()
        self._is_back.set()
        # Asked in the loop: a stop that comes after its end would end what is run in it next.
        self._loop.call_soon_threadsafe(lambda: task.done() or self._loop.stop())
        beside.join()
        self._loop.call_soon(self._came_back)


class Signals:
    """Tells the event loop of signals, in whichever thread it turns and whatever holds the other.

    Python calls handlers in the main thread, which may be deep in a call of `run`. The descriptor
    is written by the interpreter as soon as the signal is there.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, numbers: tuple[int, ...], tell: Callable[[], None]
    ) -> None:
        self._read, self._write = os.pipe()
        self._tell = tell
        for fd in (self._read, self._write):
            os.set_blocking(fd, False)
        for number in numbers:
            signal.signal(number, self._handle)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        loop.add_reader(self._read, self._take)

    def _handle(self, number: int, frame: object) -> None:
        with suppress(BlockingIOError):  # it has enough to read
            os.write(self._write, bytes([number]))  # for while the loop turns here, it has its own

    def _take(self) -> None:
        os.read(self._read, 4096)
        self._tell()
