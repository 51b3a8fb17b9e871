"""Where `run` executes: order, threads, lateness, room, calls that do not end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from tests.unit.runtime.lanes import LONG, SHORT, Always, Script, Stage
from tests.unit.runtime.replies import answered

from modelyard_runtime.http.sending import Broken
from modelyard_runtime.http.server import Response
from modelyard_runtime.lanes.base import LoopLane
from modelyard_runtime.lanes.main import MainLane


@pytest.fixture
def script() -> Iterator[Script]:
    script = Script()
    yield script
    script.release.set()


def main_lane(stage: Stage, *, fast: bool = False) -> MainLane:
    lane: MainLane = stage.has(MainLane(stage.surroundings, stage.main, Always(fast=fast)))
    return lane


async def score(stage: Stage, lane: MainLane | LoopLane, *bodies: bytes) -> list[Response]:
    return await asyncio.gather(*(answered(lane.submit(stage.call(body))) for body in bodies))


class TestSlowCalls:
    def test_are_made_in_order_in_the_main_thread(self, script: Script) -> None:
        turning: set[int] = set()

        async def scenario(stage: Stage) -> None:
            lane = main_lane(stage)
            bodies = [b"%d" % number for number in range(100)]
            answers = await score(stage, lane, *bodies)
            turning.add(threading.get_ident())
            assert [answer.body for answer in answers] == script.calls == bodies

        Stage(script.run).play(scenario)
        assert set(script.threads) == {threading.get_ident()}
        assert turning.isdisjoint(script.threads)

    def test_the_event_loop_goes_on_meanwhile(self, script: Script) -> None:
        async def scenario(stage: Stage) -> None:
            lane = main_lane(stage)
            waiting = lane.submit(stage.call(b"wait"))
            while not script.calls:
                await asyncio.sleep(0)
            script.release.set()
            assert (await answered(waiting)).body == b"wait"

        Stage(script.run).play(scenario)

    def test_what_is_given_up_before_its_turn_is_not_scored(self, script: Script) -> None:
        async def scenario(stage: Stage) -> None:
            lane = main_lane(stage)
            first, second, third = (lane.submit(stage.call(b)) for b in (b"wait", b"2", b"3"))
            assert not isinstance(second, Response)
            second.forsake()
            script.release.set()
            await asyncio.gather(answered(first), answered(third))
            assert script.calls == [b"wait", b"3"]
            assert stage.admission.gauges() == (0, 0)

        Stage(script.run).play(scenario)

    def test_what_outlasts_its_time_is_answered_and_left_behind(self, script: Script) -> None:
        async def scenario(stage: Stage) -> None:
            lane = main_lane(stage)
            (late,) = await score(stage, lane, b"wait")
            assert late.status == 504
            await stage.stuck.wait()
            (after,) = await score(stage, lane, b"after")
            assert after.body == b"after"
            assert len(set(script.threads)) == 2
            script.release.set()

        Stage(script.run, scoring_timeout=SHORT).play(scenario)

    def test_a_call_that_nobody_waits_for_is_still_found_stuck(self, script: Script) -> None:
        async def scenario(stage: Stage) -> None:
            forsaken = main_lane(stage).submit(stage.call(b"wait"))
            while not script.calls:
                await asyncio.sleep(0)
            assert not isinstance(forsaken, Response)
            forsaken.forsake()
            await stage.stuck.wait()
            script.release.set()

        Stage(script.run, scoring_timeout=SHORT).play(scenario)

    def test_waiting_too_long_behind_others_is_no_sign_of_a_stuck_one(self, script: Script) -> None:
        stage = Stage(script.run, scoring_timeout=SHORT)

        async def scenario(stage: Stage) -> None:
            answers = await score(stage, main_lane(stage), b"wait", b"2", b"3")
            assert answers[0].status == 504
            await stage.stuck.wait()
            script.release.set()

        stage.play(scenario)
        assert stage.times_stuck == 1


class TestFastCalls:
    def test_are_made_in_the_event_loop(self, script: Script) -> None:
        async def scenario(stage: Stage) -> None:
            lane = main_lane(stage, fast=True)
            await score(stage, lane, b"1")
            while threading.current_thread() is not threading.main_thread():
                await asyncio.sleep(0)
            await asyncio.sleep(0)
            answer = lane.submit(stage.call(b"2"))
            assert isinstance(answer, Response)
            assert answer.body == b"2"

        Stage(script.run).play(scenario)
        assert set(script.threads) == {threading.get_ident()}

    def test_what_came_while_the_loop_was_moving_is_scored(self, script: Script) -> None:
        async def scenario(stage: Stage) -> None:
            lane = main_lane(stage, fast=True)
            bodies = [b"%d" % number for number in range(50)]
            answers = await score(stage, lane, *bodies)
            assert [answer.body for answer in answers] == bodies
            assert stage.admission.gauges() == (0, 0)

        Stage(script.run).play(scenario)

    def test_go_back_and_forth(self, script: Script) -> None:
        async def scenario(stage: Stage) -> None:
            pace = Always(fast=True)
            lane = stage.has(MainLane(stage.surroundings, stage.main, pace))
            for number in range(100):
                pace.fast = number % 3 != 0
                (answer,) = await score(stage, lane, b"%d" % number)
                assert answer.body == b"%d" % number
            assert len(script.calls) == 100

        Stage(script.run).play(scenario)
        assert set(script.threads) == {threading.get_ident()}

    def test_may_run_an_event_loop_of_their_own(self) -> None:
        def run(data: bytes) -> bytes:
            return asyncio.run(asyncio.sleep(0, data))

        async def scenario(stage: Stage) -> None:
            lane = main_lane(stage, fast=True)
            for _ in range(5):
                (answer,) = await score(stage, lane, b"data")
                assert (answer.status, answer.body) == (200, b"data")
            assert asyncio.get_running_loop() is stage.loop

        Stage(run).play(scenario)

    def test_are_counted(self, script: Script) -> None:
        async def scenario(stage: Stage) -> None:
            lane = main_lane(stage, fast=True)
            for body in (b"1", b"2", b"raise", b"unreadable"):
                await score(stage, lane, body)
            figures = stage.figures()
            for status, count in ((200, 2), (500, 1), (400, 1)):
                sample = f'requests_total{{protocol="score",status="{status}"}} {count}\n'
                assert sample in figures
            assert 'stage_duration_seconds_count{stage="run"} 3\n' in figures

        Stage(script.run).play(scenario)


class TestRoom:
    def test_requests_beyond_those_in_flight_are_refused(self, script: Script) -> None:
        async def scenario(stage: Stage) -> None:
            lane = main_lane(stage)
            waiting = [lane.submit(stage.call(b"wait")) for _ in range(2)]
            refused = lane.submit(stage.call(b"3"))
            assert isinstance(refused, Response)
            assert refused.status == 503
            assert (b"retry-after", b"1") in refused.headers
            script.release.set()
            await asyncio.gather(*map(answered, waiting))
            (later,) = await score(stage, lane, b"4")
            assert later.status == 200
            assert 'refused_total{reason="in_flight"} 1\n' in stage.figures()
            assert 'requests_total{protocol="score",status="503"} 1\n' in stage.figures()

        Stage(script.run, max_in_flight=2).play(scenario)

    def test_requests_beyond_the_queue_are_refused(self, script: Script) -> None:
        async def scenario(stage: Stage) -> None:
            lane = main_lane(stage)
            waiting = [lane.submit(stage.call(b"wait"))]
            while not script.calls:
                await asyncio.sleep(0)
            waiting += [lane.submit(stage.call(b"2")), lane.submit(stage.call(b"3"))]
            refused = lane.submit(stage.call(b"4"))
            assert isinstance(refused, Response)
            assert refused.status == 503
            script.release.set()
            await asyncio.gather(*map(answered, waiting))
            assert 'refused_total{reason="queue_length"} 1\n' in stage.figures()

        Stage(script.run, max_queue=1).play(scenario)

    def test_who_waits_too_long_is_refused(self, script: Script) -> None:
        async def scenario(stage: Stage) -> None:
            lane = main_lane(stage)
            first = lane.submit(stage.call(b"wait"))
            (refused,) = await score(stage, lane, b"2")
            assert (refused.status, stage.times_stuck) == (503, 0)
            script.release.set()
            assert (await answered(first)).status == 200
            assert script.calls == [b"wait"]
            assert 'refused_total{reason="queue_wait"} 1\n' in stage.figures()

        Stage(script.run, max_queue_wait=SHORT).play(scenario)


class TestLoopLane:
    def test_requests_overlap(self, script: Script) -> None:
        async def scenario(stage: Stage) -> None:
            lane = stage.has(LoopLane(stage.surroundings))
            waiting = lane.submit(stage.call(b"wait"))
            (answer,) = await score(stage, lane, b"2")
            assert answer.body == b"2"
            assert not waiting.settled

        Stage(script.run_async).play(scenario)

    def test_what_outlasts_its_time_is_cancelled(self, script: Script) -> None:
        stage = Stage(script.run_async, scoring_timeout=SHORT)

        async def scenario(stage: Stage) -> None:
            lane = stage.has(LoopLane(stage.surroundings))
            first, second = await score(stage, lane, b"wait", b"2")
            assert (first.status, second.body) == (504, b"2")
            while stage.admission.gauges() != (0, 0):
                await asyncio.sleep(0)

        stage.play(scenario)
        assert stage.times_stuck == 0

    def test_what_a_script_itself_has_cancelled_is_its_failure(self) -> None:
        async def run(data: bytes) -> None:
            asleep = asyncio.ensure_future(asyncio.sleep(LONG))
            asleep.cancel()
            await asleep

        async def scenario(stage: Stage) -> None:
            (answer,) = await score(stage, stage.has(LoopLane(stage.surroundings)), b"1")
            assert answer.status == 500
            assert len(stage.failures) == 1

        Stage(run).play(scenario)

    def test_a_call_that_blocks_the_loop_is_stuck(self, script: Script) -> None:
        async def scenario(stage: Stage) -> None:
            lane = stage.has(LoopLane(stage.surroundings))
            (answer,) = await score(stage, lane, b"block")
            assert answer.status == 504
            await stage.stuck.wait()
            script.release.set()

        Stage(script.run_async, scoring_timeout=SHORT).play(scenario)

    def test_what_is_given_up_before_its_turn_is_not_scored(self, script: Script) -> None:
        async def scenario(stage: Stage) -> None:
            lane = stage.has(LoopLane(stage.surroundings))
            blocking = lane.submit(stage.call(b"block"))
            while not script.calls:
                await asyncio.sleep(0)
            given_up = lane.submit(stage.call(b"2"))
            given_up.forsake()
            script.release.set()
            await answered(blocking)
            await score(stage, lane, b"3")
            assert script.calls == [b"block", b"3"]

        Stage(script.run_async).play(scenario)

    def test_there_is_a_limit_of_requests_in_flight(self, script: Script) -> None:
        async def scenario(stage: Stage) -> None:
            lane = stage.has(LoopLane(stage.surroundings))
            lane.submit(stage.call(b"wait"))
            (refused,) = await score(stage, lane, b"2")
            assert refused.status == 503

        Stage(script.run_async, max_in_flight=1).play(scenario)


class Generators:
    """`run` functions that yield, and what became of them."""

    def __init__(self) -> None:
        self.made: list[bytes] = []
        self.closed = threading.Event()
        self.hesitates = threading.Event()
        self.release = threading.Event()

    def run(self, data: bytes) -> Iterator[bytes]:
        try:
            if data == b"hesitate":
                self.hesitates.set()
                assert self.release.wait(LONG)
            for number in range(1000):
                if data == b"wait" and number == 2:
                    assert self.release.wait(LONG)
                if data == b"raise" and number == 2:
                    raise ValueError
                if data == b"short" and number == 5:
                    return
                self.made.append(b"%d " % number)
                yield self.made[-1]
        finally:
            self.closed.set()

    async def run_async(self, data: bytes) -> AsyncIterator[bytes]:
        try:
            for part in self.run(data if data != b"wait" else b""):
                if data == b"wait" and part == b"2 ":
                    await asyncio.sleep(LONG)
                yield part
        finally:
            self.closed.set()


async def parts_of(response: Response, most: int = 2000) -> list[bytes]:
    """The first parts of an answer, which is then closed as a server does it."""
    parts: list[bytes] = []
    body: Any = response.body
    try:
        async for part in body:
            parts.append(part)
            if len(parts) == most:
                break
    finally:
        await body.aclose()
    return parts


SHORT_ANSWER = [b"0 ", b"1 ", b"2 ", b"3 ", b"4 "]


@pytest.fixture
def generators() -> Iterator[Generators]:
    generators = Generators()
    yield generators
    generators.release.set()


def lane_of(stage: Stage, kind: str) -> MainLane | LoopLane:
    if kind == "loop":
        lane: LoopLane = stage.has(LoopLane(stage.surroundings))
        return lane
    return main_lane(stage, fast=kind == "here")


def stage_of(generators: Generators, kind: str, **limits: Any) -> Stage:
    run = generators.run_async if kind == "loop" else generators.run
    return Stage(run, streams=True, **limits)


@pytest.mark.parametrize("kind", ["main", "here", "loop"])
class TestStreams:
    def test_are_whole_and_in_order(self, generators: Generators, kind: str) -> None:
        async def scenario(stage: Stage) -> None:
            lane = lane_of(stage, kind)
            for _ in range(3):
                (answer,) = await score(stage, lane, b"short")
                assert await parts_of(answer) == SHORT_ANSWER
            (answer,) = await score(stage, lane, b"")
            assert len(await parts_of(answer)) == 1000
            while stage.admission.gauges() != (0, 0):
                await asyncio.sleep(0)

        stage_of(generators, kind).play(scenario)

    def test_are_not_made_long_before_they_are_taken(
        self, generators: Generators, kind: str
    ) -> None:
        async def scenario(stage: Stage) -> None:
            (answer,) = await score(stage, lane_of(stage, kind), b"")
            assert await parts_of(answer, 3) == SHORT_ANSWER[:3]
            while not generators.closed.is_set():
                await asyncio.sleep(0)
            assert 3 <= len(generators.made) < 20

        stage_of(generators, kind).play(scenario)

    def test_that_fail_are_cut(self, generators: Generators, kind: str) -> None:
        async def scenario(stage: Stage) -> None:
            (answer,) = await score(stage, lane_of(stage, kind), b"raise")
            with pytest.raises(Exception):  # noqa: B017, PT011
                await parts_of(answer)
            assert stage.failures
            while stage.admission.gauges() != (0, 0):
                await asyncio.sleep(0)

        stage_of(generators, kind).play(scenario)

    def test_whose_next_part_takes_too_long_are_cut(
        self, generators: Generators, kind: str
    ) -> None:
        async def scenario(stage: Stage) -> None:
            (answer,) = await score(stage, lane_of(stage, kind), b"wait")
            with pytest.raises(Exception):  # noqa: B017, PT011
                await parts_of(answer)
            if kind != "loop":
                await stage.stuck.wait()
            generators.release.set()

        stage_of(generators, kind, scoring_timeout=SHORT).play(scenario)


def test_a_slow_client_costs_a_stream_of_its_own_loop_no_time(generators: Generators) -> None:
    async def scenario(stage: Stage) -> None:
        (answer,) = await score(stage, lane_of(stage, "loop"), b"")
        body: Any = answer.body
        await anext(body)
        await asyncio.sleep(1.5 * SHORT)
        assert len(await parts_of(answer)) == 999
        assert stage.times_stuck == 0

    stage_of(generators, "loop", scoring_timeout=SHORT).play(scenario)


@pytest.mark.parametrize("kind", ["main", "here"])
def test_a_client_that_takes_nothing_does_not_keep_the_thread(
    generators: Generators, kind: str
) -> None:
    async def scenario(stage: Stage) -> None:
        lane = lane_of(stage, kind)
        (answer,) = await score(stage, lane, b"")
        while not generators.closed.is_set():
            await asyncio.sleep(0.01)
        assert len(generators.made) < 20
        with pytest.raises(Broken):
            await parts_of(answer)
        (other,) = await score(stage, lane, b"short")
        assert await parts_of(other) == SHORT_ANSWER
        assert stage.times_stuck == 0

    stage_of(generators, kind, scoring_timeout=SHORT).play(scenario)


@pytest.mark.parametrize("kind", ["main", "loop"])
def test_a_stream_whose_client_has_gone_is_not_made(generators: Generators, kind: str) -> None:
    async def scenario(stage: Stage) -> None:
        call = lane_of(stage, kind).submit(stage.call(b"hesitate"))
        while not generators.hesitates.is_set():
            await asyncio.sleep(0)
        call.forsake()
        generators.release.set()
        while not generators.closed.is_set():
            await asyncio.sleep(0)
        assert len(generators.made) < 20

    stage_of(generators, kind).play(scenario)
