"""Where `run()` executes: order, lateness, calls that do not end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest
from tests.unit.runtime.replies import answered

from modelyard_runtime.http import Headers, Request, Response
from modelyard_runtime.lanes import Lane, LoopLane, ThreadLane
from modelyard_runtime.protocols.base import Protocol
from modelyard_runtime.scoring import Call, Scorer

LONG = 60.0
SHORT = 0.05


class FakeScorer:
    """Answers with the body; blocks on `wait` until released; counts who is at work."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.calls: list[bytes] = []
        self.threads: set[int] = set()
        self.lanes: list[Lane] = []
        self.others = set(threading.enumerate())

    def call(self, body: bytes) -> Call:
        return FakeCall(self, body)

    def answer(self, request: Request) -> Response:
        self.calls.append(request.body)
        self.threads.add(threading.get_ident())
        if request.body == b"wait":
            assert self.release.wait(LONG)
        return Response(200, request.body)

    async def answer_async(self, request: Request) -> Response:
        self.calls.append(request.body)
        self.threads.add(threading.get_ident())
        if request.body == b"wait":
            await asyncio.sleep(LONG)
        if request.body == b"block":
            assert self.release.wait(LONG)
        return Response(200, request.body)


class FakeCall(Call):
    def __init__(self, scorer: FakeScorer, body: bytes) -> None:
        super().__init__(cast(Scorer, None), request(body), cast(Protocol, None))
        self._fake = scorer

    def execute(self) -> Response:
        return self._fake.answer(self.request)

    async def execute_async(self) -> Response:
        return await self._fake.answer_async(self.request)

    def refuse(self, status: int, message: str, *fields: tuple[bytes, bytes]) -> Response:
        return Response(status)


@pytest.fixture
def scorer() -> FakeScorer:
    return FakeScorer()


def request(body: bytes) -> Request:
    return Request("POST", "/score", "", Headers([]), body)


def run(scenario: Callable[[], Coroutine[Any, Any, None]], scorer: FakeScorer) -> None:
    try:
        asyncio.run(scenario())
    finally:
        scorer.release.set()
        for lane in scorer.lanes:
            lane.close()
        for thread in set(threading.enumerate()) - scorer.others:
            thread.join(LONG)


def thread_lane(
    scorer: FakeScorer, timeout: float = LONG, stuck: Callable[[], None] = lambda: None
) -> ThreadLane:
    lane = ThreadLane(timeout, stuck)
    scorer.lanes.append(lane)
    return lane


def loop_lane(
    scorer: FakeScorer, timeout: float = LONG, stuck: Callable[[], None] = lambda: None
) -> LoopLane:
    lane = LoopLane(timeout, stuck)
    scorer.lanes.append(lane)
    return lane


class TestThreadLane:
    def test_scores_in_order_in_one_other_thread(self, scorer: FakeScorer) -> None:
        async def scenario() -> None:
            lane = thread_lane(scorer)
            bodies = [b"%d" % number for number in range(100)]
            answers = await asyncio.gather(
                *(answered(lane.submit(scorer.call(body))) for body in bodies)
            )
            assert [answer.body for answer in answers] == scorer.calls == bodies
            assert len(scorer.threads - {threading.get_ident()}) == 1

        run(scenario, scorer)

    def test_the_event_loop_goes_on_meanwhile(self, scorer: FakeScorer) -> None:
        async def scenario() -> None:
            lane = thread_lane(scorer)
            waiting = lane.submit(scorer.call(b"wait"))
            await asyncio.sleep(0)
            assert not waiting.settled
            scorer.release.set()
            assert (await answered(waiting)).body == b"wait"

        run(scenario, scorer)

    def test_what_is_given_up_before_its_turn_is_not_scored(self, scorer: FakeScorer) -> None:
        async def scenario() -> None:
            lane = thread_lane(scorer)
            first, second, third = (lane.submit(scorer.call(b)) for b in (b"wait", b"2", b"3"))
            second.forsake()
            scorer.release.set()
            await asyncio.gather(answered(first), answered(third))
            assert scorer.calls == [b"wait", b"3"]

        run(scenario, scorer)

    def test_what_outlasts_its_time_is_answered_and_left_behind(self, scorer: FakeScorer) -> None:
        async def scenario() -> None:
            stuck = asyncio.Event()
            lane = thread_lane(scorer, SHORT, stuck.set)
            late = await answered(lane.submit(scorer.call(b"wait")))
            assert late.status == 504
            await stuck.wait()
            after = await answered(lane.submit(scorer.call(b"after")))
            assert after.body == b"after"
            assert len(scorer.threads) == 2

        run(scenario, scorer)

    def test_a_call_that_nobody_waits_for_is_still_found_stuck(self, scorer: FakeScorer) -> None:
        async def scenario() -> None:
            stuck = asyncio.Event()
            lane = thread_lane(scorer, SHORT, stuck.set)
            forsaken = lane.submit(scorer.call(b"wait"))
            while not scorer.calls:
                await asyncio.sleep(0)
            forsaken.forsake()
            await asyncio.wait_for(stuck.wait(), LONG)

        run(scenario, scorer)

    def test_waiting_too_long_behind_others_is_no_sign_of_a_stuck_one(
        self, scorer: FakeScorer
    ) -> None:
        async def scenario() -> None:
            stuck: list[int] = []
            lane = thread_lane(scorer, SHORT, lambda: stuck.append(1))
            waiting = [lane.submit(scorer.call(body)) for body in (b"wait", b"2", b"3")]
            assert (await answered(waiting[0])).status == 504
            await asyncio.gather(*map(answered, waiting[1:]))
            assert stuck == [1]

        run(scenario, scorer)


class TestLoopLane:
    def test_requests_overlap(self, scorer: FakeScorer) -> None:
        async def scenario() -> None:
            lane = loop_lane(scorer)
            waiting = lane.submit(scorer.call(b"wait"))
            assert (await answered(lane.submit(scorer.call(b"2")))).body == b"2"
            assert not waiting.settled

        run(scenario, scorer)

    def test_what_outlasts_its_time_is_cancelled(self, scorer: FakeScorer) -> None:
        async def scenario() -> None:
            stuck: list[int] = []
            lane = loop_lane(scorer, SHORT, lambda: stuck.append(1))
            assert (await answered(lane.submit(scorer.call(b"wait")))).status == 504
            assert (await answered(lane.submit(scorer.call(b"2")))).body == b"2"
            await asyncio.sleep(2 * SHORT)
            assert stuck == []

        run(scenario, scorer)

    def test_a_call_that_blocks_the_loop_is_stuck(self, scorer: FakeScorer) -> None:
        async def scenario() -> None:
            stuck = asyncio.Event()
            lane = loop_lane(scorer, SHORT, stuck.set)
            assert (await answered(lane.submit(scorer.call(b"block")))).status == 504
            await asyncio.wait_for(stuck.wait(), LONG)

        run(scenario, scorer)

    def test_what_is_given_up_before_its_turn_is_not_scored(self, scorer: FakeScorer) -> None:
        async def scenario() -> None:
            lane = loop_lane(scorer)
            blocking = lane.submit(scorer.call(b"block"))
            given_up = lane.submit(scorer.call(b"2"))
            given_up.forsake()
            scorer.release.set()
            await answered(blocking)
            await answered(lane.submit(scorer.call(b"3")))
            assert scorer.calls == [b"block", b"3"]

        run(scenario, scorer)
