"""Where `run()` executes: beside the event loop, so that a worker answers while a model computes.

`ThreadLane` calls a plain `run` in one thread, one request after the other. `LoopLane` gives a
`run` that is a coroutine function an event loop of its own, where requests overlap. Both answer
504 when a request's time is over, and call `stuck` when what runs cannot be ended: then the worker
has to go.
"""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue

from modelyard_runtime.http import Response
from modelyard_runtime.scoring import Call

_SWEEP_INTERVAL = 0.25
_CANCEL_GRACE = 1.0
"""Seconds that a cancelled coroutine gets to end, before its loop counts as stuck."""


class Lane(ABC):
    """Takes requests from the event loop and has them answered elsewhere."""

    def __init__(self, timeout: float, stuck: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout = timeout
        self._stuck = stuck
        self._jobs: deque[Call] = deque()
        """Not yet over, oldest first; with one time limit for all they come due in order."""
        self._sweeping = False
        self._finished: deque[Call] = deque()
        self._delivering = False

    def submit(self, job: Call) -> Call | Response:
        """Score a request. One that is abandoned before it has begun is not scored."""
        job.deadline = self._loop.time() + self._timeout
        job.started = job.finished = job.cancelled = False
        job.task = None
        self._jobs.append(job)
        if not self._sweeping:
            self._sweep()
        self._start(job)
        return job

    @abstractmethod
    def close(self) -> None:
        """Let the thread end, once it has nothing to do."""

    @abstractmethod
    def _start(self, job: Call) -> None:
        """Have a job answered; ends with `_finish`."""

    @abstractmethod
    def _give_up(self, job: Call) -> bool:
        """A job's time is over: whether it needs no more watching."""

    def _finish(self, job: Call) -> None:
        """Hand a job back. Called from the other thread, which may finish several at once."""
        job.finished = True
        self._finished.append(job)
        if not self._delivering:
            self._delivering = True
            with suppress(RuntimeError):  # the loop is closed: a stuck call has ended after all
                self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._delivering = False  # first: what is finished from here on wakes this loop again
        while self._finished:
            job = self._finished.popleft()
            job.send(job.response)
        jobs = self._jobs
        while jobs and jobs[0].finished:  # not left to the next sweep: they hold whole bodies
            jobs.popleft()

    def _sweep(self) -> None:
        now = self._loop.time()
        jobs = self._jobs
        while jobs and (_is_over(jobs[0]) or (jobs[0].deadline <= now and self._expire(jobs[0]))):
            jobs.popleft()
        self._sweeping = bool(jobs)
        if self._sweeping:
            self._loop.call_later(min(_SWEEP_INTERVAL, self._timeout / 4), self._sweep)

    def _expire(self, job: Call) -> bool:
        if not job.settled:
            job.send(job.refuse(504, f"The request was not scored within {self._timeout:g} s."))
        return self._give_up(job)


class ThreadLane(Lane):
    """Calls `run` in one thread, so that scripts need not care about concurrency.

    When a call outlasts its time, it cannot be ended. It then keeps its thread, and those that
    wait behind it go on in a fresh one.
    """

    def __init__(self, timeout: float, stuck: Callable[[], None]) -> None:
        super().__init__(timeout, stuck)
        self._queue: SimpleQueue[Call | None] = SimpleQueue()
        self._begin_thread()

    def close(self) -> None:
        """Let the thread end, once it has nothing to do."""
        self._queue.put(None)

    def _begin_thread(self) -> None:
        self._thread = threading.Thread(target=self._work, name="scoring", daemon=True)
        self._thread.start()

    def _start(self, job: Call) -> None:
        self._queue.put(job)

    def _give_up(self, job: Call) -> bool:
        if job.started:
            self._begin_thread()
            self._stuck()
        return True

    def _work(self) -> None:
        current = threading.current_thread()
        while self._thread is current:
            job = self._queue.get()
            if job is None:
                return
            if job.settled:
                continue  # nobody waits for it any more
            job.started = True
            job.response = job.execute()
            self._finish(job)


class LoopLane(Lane):
    """Awaits `run` in an event loop of its own, in its own thread; requests overlap."""

    def __init__(self, timeout: float, stuck: Callable[[], None]) -> None:
        super().__init__(timeout, stuck)
        self._inner = asyncio.new_event_loop()
        self._closing = asyncio.Event()
        threading.Thread(target=self._turn, name="scoring", daemon=True).start()

    def close(self) -> None:
        """Cancel what still runs, and let the thread end."""
        self._inner.call_soon_threadsafe(self._closing.set)

    def _turn(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._inner) as runner:
            runner.run(self._closing.wait())

    def _start(self, job: Call) -> None:
        self._inner.call_soon_threadsafe(self._spawn, job)

    def _spawn(self, job: Call) -> None:
        if not job.settled:
            job.started = True
            job.task = self._inner.create_task(self._work(job))

    async def _work(self, job: Call) -> None:
        try:
            job.response = await job.execute_async()
        except asyncio.CancelledError:
            job.finished = True
            raise
        self._finish(job)

    def _give_up(self, job: Call) -> bool:
        if job.task is None or job.cancelled:
            self._stuck()
            return True
        job.cancelled = True
        job.deadline += _CANCEL_GRACE
        self._inner.call_soon_threadsafe(job.task.cancel)
        return False


def _is_over(job: Call) -> bool:
    return job.finished or (job.settled and not job.started)
