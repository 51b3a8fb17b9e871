"""The lane of a plain `run`: called in the main thread, one call at a time, alone or joined."""

from __future__ import annotations

import threading
from asyncio import events
from collections import deque
from functools import partial
from math import inf
from queue import SimpleQueue
from time import perf_counter, thread_time

from modelyard_runtime.http.server import Response
from modelyard_runtime.lanes.base import Surroundings, WatchedLane
from modelyard_runtime.lanes.batching import Batcher, Group, score_alone
from modelyard_runtime.lanes.handover import ThreadRelay
from modelyard_runtime.lanes.mainthread import MainThread
from modelyard_runtime.lanes.pace import Pace, usage, used_since
from modelyard_runtime.scoring import Call
from modelyard_runtime.streaming import Parts


class MainLane(WatchedLane):
    """Has `run` called in the main thread, so that scripts need not know of concurrency.

    Fast calls are made in the event loop, slow ones beside it: see `MainThread` and `Pace`. When a
    call outlasts its time, it cannot be ended. It then keeps the main thread, and those that wait
    behind it go on in a fresh one.
    """

    def __init__(self, surroundings: Surroundings, main: MainThread, pace: Pace) -> None:
        super().__init__(surroundings)
        self._main = main
        self._pace = pace
        self._queue: SimpleQueue[list[Call] | None] = SimpleQueue()
        self._groups: deque[Group] = deque()
        """Waiting for whichever thread scores."""
        self._begun: deque[Call] = deque()
        """Answers whose parts are still to be made."""
        self._home = self._scoring = threading.current_thread()
        self._at_work: list[Call] = []
        """What the scoring thread has before it."""
        self._over = threading.Event()
        self._is_here = False
        self._step_aside()

    def submit(self, call: Call) -> Call | Response:
        """Score a request. One that is abandoned before it has begun is not scored."""
        call.arrived = perf_counter()
        if self._is_here:
            return self._score_at_once(call)
        refusal = self._take(call)
        if refusal is not None:
            return refusal
        self._watch(call)
        self._queue.put([call])
        return call

    def close(self) -> None:
        """Let the scoring thread end, once it has nothing to do."""
        self._queue.put(None)
        self._over.set()

    def _arrange(self, calls: list[Call]) -> list[Group]:
        return [Group.alone(call) for call in calls]

    def _score(self, group: Group) -> None:
        score_alone(group)

    def _score_at_once(self, call: Call) -> Response:
        before = usage() if self._pace.close_looks else None
        events._set_running_loop(None)  # a script may run one of its own
        try:
            response = call.execute()
        finally:
            events._set_running_loop(self._loop)
        took = perf_counter() - call.arrived
        used = used_since(before) if before else None
        metrics = self._metrics
        metrics.answered(call.protocol.name, response.status, took)
        if call.running:
            metrics.scored(0.0, call.decoding, call.encoding)
            metrics.ran(call.running)
            if call.non_finite:
                metrics.non_finite()
        if self._recorder is not None:
            self._recorder.record(call, response, took)
        if call.parts is not None:
            self._stream(call, response)
        elif self._pace.proves_slow(took, 1, used):
            self._step_aside()
        return response

    def _stream(self, call: Call, response: Response) -> None:
        """Have the parts made beside the loop of an answer that was begun in it."""
        self._admission.taken += 1
        self._admission.begun += 1
        call.response = response
        call.deadline = 0.0
        call.settled = True
        self._add_relays(Group.alone(call))
        self._step_aside()

    def _score_here(self, calls: list[Call]) -> None:
        """Score in the event loop, until that proves slow."""
        done: list[Group] = []
        events._set_running_loop(None)
        try:
            self._score_groups(calls, done)
        finally:
            events._set_running_loop(self._loop)
        for group in done:
            self._settle(group)

    def _score_groups(self, calls: list[Call], done: list[Group]) -> None:
        began = perf_counter()
        before = usage() if self._pace.close_looks else None
        self._groups.extend(self._arrange(calls))
        while self._groups and self._is_here:
            group = self._groups.popleft()
            self._begin(group)
            self._score(group)
            self._add_relays(group)
            done.append(group)
            took = perf_counter() - began
            used = used_since(before) if before else None
            if self._begun or self._pace.proves_slow(took, len(calls), used):
                self._step_aside()

    def _step_aside(self) -> None:
        """From here on the main thread scores, beside the event loop."""
        self._is_here = False
        waiting = [call for group in self._groups for call in group.calls]
        for call in (*waiting, *self._begun):
            if not call.deadline:
                self._watch(call)
        for call in self._begun:
            call.started = True
        self._main.step_aside(self._work_in_main, self._came_back)

    def _came_back(self) -> None:
        """The event loop turns in the main thread again."""
        self._is_here = True
        calls = []
        while not self._queue.empty():
            calls += self._queue.get() or []
        self._score_here(calls)

    def _work_in_main(self) -> None:
        self._work()
        if self._scoring is not self._home:
            self._over.wait()  # another thread scores now, and this one must not disturb it

    def _work(self) -> None:
        """Score what is queued, until that proves fast or there is no more to come."""
        current = threading.current_thread()
        while self._scoring is current:
            self._at_work = []
            if self._begun:
                self._make_parts(self._begun.popleft())
            elif self._groups:
                if self._score_aside(self._groups.popleft()):
                    return
            else:
                calls = self._wait()
                if calls is None:
                    return
                self._at_work = calls
                self._groups.extend(self._arrange(calls))

    def _wait(self) -> list[Call] | None:
        """All that is queued, as soon as there is something; None at the end."""
        calls = self._queue.get()
        while calls is not None and not self._queue.empty():
            more = self._queue.get()
            if more is None:
                self._queue.put(None)
                break
            calls += more
        return calls

    def _score_aside(self, group: Group) -> bool:
        """Score in the thread beside the event loop: whether that may be done in the loop."""
        began, cpu_began = perf_counter(), thread_time()
        self._at_work = group.calls  # before they count as begun, so that none is given up unseen
        self._begin(group)
        self._score(group)
        self._add_relays(group)
        took, cpu_took = perf_counter() - began, thread_time() - cpu_began
        is_fast = self._pace.proves_fast(took, cpu_took, len(group.calls))
        self._finish(group)
        return is_fast and not self._begun and threading.current_thread() is self._home

    def _begin(self, group: Group) -> None:
        now = perf_counter()
        self._admission.begun += len(group.calls)
        group.drop_unwanted(now)
        for call in group.calls:
            call.waited = now - call.arrived
            call.started = True  # last: from here on the sweep counts its time

    def _add_relays(self, group: Group) -> None:
        for call in group.calls:
            if call.parts is not None and call.response is not None:
                call.response.body = ThreadRelay(
                    self._loop, self._timeout, partial(self._all_made, call)
                )
                self._begun.append(call)

    def _make_parts(self, call: Call) -> None:
        """Make the parts of an answer; each has its own time, in which no waiting counts."""

        def working(is_working: bool) -> None:
            call.deadline = perf_counter() + self._timeout if is_working else inf

        assert call.response is not None
        assert isinstance(call.response.body, ThreadRelay)
        assert isinstance(call.parts, Parts)
        self._at_work = [call]
        working(True)
        call.response.body.fill(call.parts, working)

    def _give_up(self, call: Call) -> bool:
        if call.response is not None and isinstance(call.response.body, ThreadRelay):
            call.response.body.cut()
        if call not in self._at_work:
            return True  # another thread has taken the place of the one that it keeps
        self._at_work = []
        self._scoring = threading.Thread(target=self._work, name="scoring", daemon=True)
        self._scoring.start()
        self._stuck()
        return True


class BatchLane(MainLane):
    """Has requests that arrived in one turn of the event loop, or that wait, scored together.

    Args:
        batcher: Joins them.
        longest_wait: Seconds that a request may wait for others although nothing is being scored.
    """

    def __init__(
        self,
        surroundings: Surroundings,
        main: MainThread,
        pace: Pace,
        batcher: Batcher,
        longest_wait: float,
    ) -> None:
        super().__init__(surroundings, main, pace)
        self._batcher = batcher
        self._longest_wait = longest_wait
        self._gathered: list[Call] = []

    def submit(self, call: Call) -> Call | Response:
        """Score a request. One that is abandoned before it has begun is not scored."""
        call.arrived = perf_counter()
        refusal = self._take(call)
        if refusal is not None:
            return refusal
        gathered = self._gathered
        gathered.append(call)
        if len(gathered) == 1:
            if self._longest_wait:
                self._loop.call_later(self._longest_wait, self._hand_over)
            else:
                self._loop.call_soon(self._hand_over)
        elif len(gathered) == self._batcher.most_rows:
            self._hand_over()
        return call

    def _hand_over(self) -> None:
        calls, self._gathered = self._gathered, []
        if self._is_here:
            self._score_here(calls)
        elif calls:
            for call in calls:
                self._watch(call)
            self._queue.put(calls)

    def _arrange(self, calls: list[Call]) -> list[Group]:
        return self._batcher.arrange(calls)

    def _score(self, group: Group) -> None:
        self._batcher.score(group)
