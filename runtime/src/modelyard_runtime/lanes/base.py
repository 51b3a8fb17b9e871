"""Where `run` executes, so that a worker answers while a model computes.

`LoopLane` gives a `run` that is a coroutine function an event loop of its own; `main` has the
lane of a plain one. Both answer 504 when the time of a request is over, and call `stuck` when what
runs cannot be ended: then the worker has to go.
"""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from math import inf
from time import perf_counter

from modelyard_runtime.http.server import Response
from modelyard_runtime.lanes.admission import Admission
from modelyard_runtime.lanes.batching import Group
from modelyard_runtime.lanes.handover import LoopRelay, Relay, ThreadRelay
from modelyard_runtime.lanes.recording import Recorder
from modelyard_runtime.metrics import Metrics
from modelyard_runtime.scoring import Call
from modelyard_runtime.streaming import AsyncParts, Parts

_SWEEP_INTERVAL = 0.25
_CANCEL_GRACE = 1.0
"""Seconds that a cancelled coroutine gets to end, before its loop counts as stuck."""


class Lane(ABC):
    """Takes calls from the event loop and has them answered."""

    @abstractmethod
    def submit(self, call: Call) -> Call | Response:
        """Score a request: now, or later through the call. It is used in the event loop only."""

    @abstractmethod
    def close(self) -> None:
        """Let threads end, once they have nothing to do."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What lanes need of their worker."""

    timeout: float
    """Seconds for a request, its wait included."""
    admission: Admission
    metrics: Metrics
    stuck: Callable[[], None]
    """Is told that a call does not end."""
    recorder: Recorder | None = None
    """Records calls as they are answered; None: nobody asks for that."""


class WatchedLane(Lane):
    """A lane that scores beside the event loop, and watches the time of what it has taken."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout = surroundings.timeout
        self._admission = surroundings.admission
        self._metrics = surroundings.metrics
        self._stuck = surroundings.stuck
        self._recorder = surroundings.recorder
        self._watched: deque[Call] = deque()
        """Not yet over, in the order of their arrival."""
        self._sweeping = False
        self._finished: deque[Group] = deque()
        self._delivering = False
        self._closing: set[asyncio.Task[None]] = set()

    @abstractmethod
    def _give_up(self, call: Call) -> bool:
        """A call has run for all its time: whether it needs no more watching."""

    def _take(self, call: Call) -> Response | None:
        """Take a call, or refuse it for want of room."""
        refusal = self._admission.take(call)
        if refusal is not None:
            self._metrics.answered(call.protocol.name, refusal.status, 0.0)
            if self._recorder is not None:
                self._recorder.record(call, refusal, 0.0)
        return refusal

    def _watch(self, call: Call) -> None:
        call.deadline = call.arrived + self._timeout
        call.started = call.finished = call.cancelled = False
        self._watched.append(call)
        if not self._sweeping:
            self._sweeping = True
            self._sweep_later()

    def _finish(self, group: Group) -> None:
        """Hand calls back. Called from the other thread, which may finish several at once."""
        self._finished.append(group)
        if not self._delivering:
            self._delivering = True
            with suppress(RuntimeError):  # the loop is closed: a stuck call has ended after all
                self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._delivering = False  # first: what is finished from here on wakes this loop again
        while self._finished:
            self._settle(self._finished.popleft())
        watched = self._watched
        while watched and watched[0].finished:  # not left to the next sweep: they hold whole bodies
            watched.popleft()

    def _settle(self, group: Group) -> None:
        """Answer the calls of a group; those that were given up meanwhile are only counted."""
        self._admission.over += len(group.calls) + group.dropped
        if group.joined:
            self._count_joined(group)
        elif group.total and len(group.calls) == 1:
            self._metrics.batched(1, group.total)
        if group.responses is None:
            self._settle_each(group)
        else:
            self._settle_together(group, group.responses)

    def _count_joined(self, group: Group) -> None:
        """Note the times of all calls at once, as far as somebody still waits for them."""
        metrics = self._metrics
        metrics.batched(len(group.calls), group.total)
        metrics.ran(group.joined)
        waits = [call.waited for call in group.calls if not call.settled]
        metrics.scored_together(waits, group.decoding, group.encoding)

    def _settle_together(self, group: Group, responses: list[Response]) -> None:
        now = perf_counter()
        took = [now - call.arrived for call in group.calls if not call.settled]
        self._metrics.answered_together(group.calls[0].protocol.name, 200, took)
        if self._recorder is not None:
            self._record_together(self._recorder, group.calls, responses, now)
        for call, response in zip(group.calls, responses, strict=True):
            call.finished = True
            call.send(response)  # or not, if nobody waits for it any more

    def _record_together(
        self, recorder: Recorder, calls: list[Call], responses: list[Response], now: float
    ) -> None:
        if any([call.settled for call in calls]):
            pairs = zip(calls, responses, strict=True)
            responses = [response for call, response in pairs if not call.settled]
            calls = [call for call in calls if not call.settled]
        recorder.record_all(calls, responses, [now - call.arrived for call in calls])

    def _settle_each(self, group: Group) -> None:
        metrics = self._metrics
        for call in group.calls:
            if call.parts is None:
                call.finished = True
            else:
                self._admission.over -= 1  # until the last part is made
            if call.response is None or call.settled:
                self._drop(call)
                continue
            if call.running:
                metrics.scored(call.waited, call.decoding, call.encoding)
                metrics.ran(call.running)
            if call.non_finite:
                metrics.non_finite()
            self._answer(call, call.response)

    def _drop(self, call: Call) -> None:
        """Nobody takes the answer: neither shall its parts be made."""
        if call.response is not None and isinstance(call.response.body, Relay):
            closing = self._loop.create_task(call.response.body.aclose())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    def _all_made(self, call: Call) -> None:
        """The last part of an answer is made, or nobody wants it."""
        call.finished = True
        self._admission.over += 1

    def _answer(self, call: Call, response: Response) -> None:
        took = perf_counter() - call.arrived
        self._metrics.answered(call.protocol.name, response.status, took)
        if self._recorder is not None:
            self._recorder.record(call, response, took)
        call.send(response)

    def _sweep_later(self) -> None:
        shortest = min(self._timeout, self._admission.patience)
        self._loop.call_later(min(_SWEEP_INTERVAL, shortest / 4), self._sweep)

    def _sweep(self) -> None:
        now = perf_counter()
        watched, self._watched = self._watched, deque()  # an answer can bring in the next call
        remaining = [call for call in watched if not self._is_over(call, now)]
        self._watched.extendleft(reversed(remaining))
        self._sweeping = bool(self._watched)
        if self._sweeping:
            self._sweep_later()

    def _is_over(self, call: Call, now: float) -> bool:
        """Whether a call needs no more watching; answers it if it is late."""
        if call.finished or (call.settled and not call.started):
            return True
        if call.deadline <= now:
            if not call.settled:
                message = f"The request was not scored within {self._timeout:g} s."
                self._answer(call, call.refuse(504, message))
            if not call.started:
                return True
            call.deadline = call.arrived + call.waited + self._timeout
            return call.deadline <= now and self._give_up(call)
        if not call.started and now - call.arrived > self._admission.patience:
            self._answer(call, self._admission.refuse_late(call))
            return True
        return False


class LoopLane(WatchedLane):
    """Awaits `run` in an event loop of its own, in its own thread; requests overlap."""

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        self._inner = asyncio.new_event_loop()
        self._ended = asyncio.Event()
        threading.Thread(target=self._turn, name="scoring", daemon=True).start()

    def submit(self, call: Call) -> Call | Response:
        """Score a request. One that is abandoned before it has begun is not scored."""
        call.arrived = perf_counter()
        refusal = self._take(call)
        if refusal is not None:
            return refusal
        call.task = None
        self._watch(call)
        self._inner.call_soon_threadsafe(self._spawn, call)
        return call

    def close(self) -> None:
        """Cancel what still runs, and let the thread end."""
        self._inner.call_soon_threadsafe(self._ended.set)

    def _turn(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._inner) as runner:
            runner.run(self._ended.wait())

    def _spawn(self, call: Call) -> None:
        self._admission.begun += 1
        if call.settled:
            self._finish(Group.alone(call))
            return
        call.waited = perf_counter() - call.arrived
        call.task = self._inner.create_task(self._work(call))
        call.started = True  # last: from here on the sweep counts its time

    async def _work(self, call: Call) -> None:
        began = perf_counter()
        try:
            call.response = await call.execute_async()
            if call.parts is not None:
                call.deadline = inf  # each part has its own
                call.response.body = self._relay(call, call.parts)
        except asyncio.CancelledError as error:
            if not call.cancelled:  # not the call, but something that the script awaits
                call.response = call.failed(error, perf_counter() - began)
        finally:
            self._finish(Group.alone(call))

    def _relay(self, call: Call, parts: Parts | AsyncParts) -> Relay:
        over = partial(self._all_made, call)
        if isinstance(parts, AsyncParts):
            return LoopRelay(parts, self._inner, self._timeout, over)
        relay = ThreadRelay(self._loop, self._timeout, over)
        threading.Thread(target=relay.fill, args=(parts,), name="parts", daemon=True).start()
        return relay

    def _give_up(self, call: Call) -> bool:
        if call.task is None or call.cancelled:
            self._stuck()
            return True
        call.cancelled = True
        call.deadline += _CANCEL_GRACE
        self._inner.call_soon_threadsafe(call.task.cancel)
        return False
