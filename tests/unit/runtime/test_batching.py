"""Requests that are scored together get what they would have got alone, whatever arrives when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnxruntime
import pytest
import skl2onnx
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from tests.unit.runtime.lanes import LONG, SHORT, Always, Raw, Stage
from tests.unit.runtime.lanes import Script as Blocking
from tests.unit.runtime.replies import answered

from modelyard_runtime.http.encoding import encode_head
from modelyard_runtime.http.server import Response
from modelyard_runtime.lanes.batching import Batcher
from modelyard_runtime.lanes.main import BatchLane
from modelyard_runtime.scoring import Call
from modelyard_runtime.signature import Arguments, Batching


class Lines(Batching):
    """A request brings lines, and gets one for each. Those of one length may be joined."""

    def rows(self, arguments: Arguments) -> int:
        if arguments["data"] == b"odd":
            raise ValueError
        return 0 if arguments["data"] == b"alone" else len(arguments["data"].split(b"\n"))

    def key(self, arguments: Arguments) -> Any:
        return len(arguments["data"].split(b"\n")[0])

    def join(self, calls: Sequence[Arguments]) -> Arguments:
        return {"data": b"\n".join(call["data"] for call in calls)}

    def split(self, result: Any, rows: Sequence[int]) -> list[Any]:
        lines = result.split(b"\n")
        if len(lines) != sum(rows):
            raise ValueError
        parts, start = [], 0
        for count in rows:
            parts.append(b"\n".join(lines[start : start + count]))
            start += count
        return parts


class Bodies(Lines):
    """As `Lines`, but plain bodies of whatever lengths are read, and their answers written, at
    once."""

    def read(self, bodies: Sequence[bytes]) -> tuple[Arguments, list[int]] | None:
        if b"odd" in bodies or b"unreadable" in bodies:
            raise ValueError
        if b"alone" in bodies:
            return None
        return {"data": b"\n".join(bodies)}, [len(body.split(b"\n")) for body in bodies]

    def write(self, result: Any, rows: Sequence[int]) -> list[bytes] | None:
        return None if b"rednu" in result else self.split(result, rows)


class Script:
    """Answers each line with it turned round, and notes how many lines every call has had."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def run(self, data: bytes) -> bytes:
        lines = data.split(b"\n")
        self.sizes.append(len(lines))
        if b"raise" in lines:
            raise ValueError
        if b"exit" in lines:
            raise SystemExit
        if b"swallow" in lines:
            lines.remove(b"swallow")
        return b"\n".join(line[::-1] for line in lines)


def expected(body: bytes) -> tuple[int, bytes | None]:
    """Status and body of an answer to a request that is scored alone."""
    if body == b"unreadable":
        return 400, None
    try:
        return 200, Script().run(body)
    except (ValueError, SystemExit):
        return 500, None


def lane_of(
    stage: Stage,
    run: Callable[..., Any],
    *,
    fast: bool = True,
    most_rows: int = 1000,
    wait: float = 0.0,
    batching: Batching | None = None,
) -> BatchLane:
    batcher = Batcher(run, batching or Lines(), most_rows)
    lane: BatchLane = stage.has(
        BatchLane(stage.surroundings, stage.main, Always(fast=fast), batcher, wait)
    )
    return lane


def outcomes(answers: list[Response]) -> list[tuple[int, Any]]:
    return [(a.status, a.body if a.status == 200 else None) for a in answers]


BODIES = st.sampled_from(
    [b"raise", b"exit", b"swallow", b"unreadable", b"alone", b"odd", b"under"]
) | st.lists(
    st.binary(min_size=1, max_size=3).filter(lambda line: b"\n" not in line), min_size=1, max_size=4
).map(b"\n".join)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(BODIES, max_size=12), min_size=1, max_size=5),
    st.booleans(),
    st.integers(min_value=1, max_value=20),
    st.sampled_from([0.0, 0.001]),
    st.sampled_from([Lines(), Bodies()]),
)
def test_every_request_gets_what_it_would_alone(
    turns: list[list[bytes]], fast: bool, most_rows: int, wait: float, batching: Batching
) -> None:
    script = Script()
    bodies = [body for turn in turns for body in turn]

    async def scenario(stage: Stage) -> None:
        settings = {"fast": fast, "most_rows": most_rows, "wait": wait}
        lane = lane_of(stage, script.run, batching=batching, **settings)
        pending = []
        for turn in turns:
            pending += [lane.submit(stage.call(body)) for body in turn]
            await asyncio.sleep(0)
        answers = await asyncio.gather(*map(answered, pending))
        assert outcomes(answers) == [expected(body) for body in bodies]
        assert stage.admission.gauges() == (0, 0)

    Stage(script.run).play(scenario)
    longest = max((len(body.split(b"\n")) for body in bodies), default=0)
    assert max(script.sizes, default=0) <= max(most_rows, longest)


def test_what_arrives_in_one_turn_is_scored_in_one_call() -> None:
    script = Script()

    async def scenario(stage: Stage) -> None:
        lane = lane_of(stage, script.run)
        await answered(lane.submit(stage.call(b"first")))
        await asyncio.gather(*(answered(lane.submit(stage.call(b"abc"))) for _ in range(30)))
        assert 30 in script.sizes
        figures = stage.figures()
        assert "modelyard_batch_requests_sum 31\n" in figures
        assert "modelyard_batch_requests_count 2\n" in figures

    Stage(script.run).play(scenario)


def test_what_is_answered_together_is_told_like_any_other() -> None:
    script = Script()

    def told(response: Response) -> dict[bytes, bytes]:
        lines = encode_head(response, b"", b"").split(b"\r\n")[1:-2]
        return dict(line.split(b": ", 1) for line in lines)  # type: ignore[misc]

    async def scenario(stage: Stage) -> None:
        lane = lane_of(stage, script.run, batching=Bodies())
        await answered(lane.submit(stage.call(b"first")))
        calls = [stage.call(b"a"), stage.call(b"b", (b"x-request-id", b"mine")), stage.call(b"c")]
        own, mine, other = map(told, await asyncio.gather(*map(answered, map(lane.submit, calls))))
        alone = told(await answered(lane.submit(stage.call(b"last"))))
        assert script.sizes == [1, 3, 1]
        assert own.keys() == mine.keys() == alone.keys() | {b"content-type"}
        assert mine[b"x-request-id"] == mine[b"x-ms-request-id"] == b"mine"
        assert own[b"x-request-id"] == own[b"x-ms-request-id"] != other[b"x-request-id"]
        assert own[b"x-ms-run-function-failed"] == b"False"
        figures = stage.figures()
        assert 'modelyard_requests_total{protocol="score",status="200"} 5\n' in figures
        assert 'modelyard_stage_duration_seconds_count{stage="decode"} 5\n' in figures
        assert 'modelyard_stage_duration_seconds_count{stage="run"} 3\n' in figures

    Stage(script.run).play(scenario)


def test_one_alone_is_read_like_several_and_scored_once() -> None:
    script = Script()
    read: list[int] = []

    class Noted(Bodies):
        def read(self, bodies: Sequence[bytes]) -> tuple[Arguments, list[int]] | None:
            read.append(len(bodies))
            return super().read(bodies)

    async def scenario(stage: Stage) -> None:
        lane = lane_of(stage, script.run, batching=Noted())
        bodies = [b"ab\ncd", b"raise", b"unreadable"]
        answers = [await answered(lane.submit(stage.call(body))) for body in bodies]
        assert outcomes(answers) == [expected(body) for body in bodies]
        assert read == [1, 1, 1]
        assert script.sizes == [2, 1]

    Stage(script.run).play(scenario)


def test_an_id_that_is_too_long_is_refused_alone() -> None:
    script = Script()

    async def scenario(stage: Stage) -> None:
        lane = lane_of(stage, script.run, batching=Bodies())
        calls = [stage.call(b"ab"), stage.call(b"cd", (b"x-request-id", b"i" * 101))]
        answers = await asyncio.gather(*map(answered, map(lane.submit, calls)))
        assert [answer.status for answer in answers] == [200, 431]

    Stage(script.run).play(scenario)


def test_what_nobody_waits_for_is_not_read_with_others() -> None:
    script = Script()

    async def scenario(stage: Stage) -> None:
        lane = lane_of(stage, script.run, batching=Bodies())
        await answered(lane.submit(stage.call(b"first")))
        calls = [stage.call(b"a"), stage.call(b"b"), stage.call(b"c")]
        pending = [lane.submit(call) for call in calls]
        calls[1].forsake()
        await asyncio.gather(answered(pending[0]), answered(pending[2]))
        assert script.sizes == [1, 2]
        assert stage.admission.gauges() == (0, 0)

    Stage(script.run).play(scenario)


def test_the_queue_gathers_while_a_call_is_slow() -> None:
    script = Script()

    async def scenario(stage: Stage) -> None:
        lane = lane_of(stage, script.run, fast=False)
        pending = []
        for _ in range(50):
            pending.append(lane.submit(stage.call(b"abc")))
            await asyncio.sleep(0)
        await asyncio.gather(*map(answered, pending))
        assert sum(script.sizes) == 50

    Stage(script.run).play(scenario)


def test_a_full_batch_does_not_wait() -> None:
    script = Script()

    async def scenario(stage: Stage) -> None:
        lane = lane_of(stage, script.run, most_rows=4, wait=LONG)
        answers = await asyncio.gather(*(answered(lane.submit(stage.call(b"a"))) for _ in range(4)))
        assert outcomes(answers) == [(200, b"a")] * 4

    Stage(script.run).play(scenario)


def test_requests_may_wait_for_others() -> None:
    script = Script()

    async def scenario(stage: Stage) -> None:
        lane = lane_of(stage, script.run, wait=SHORT)
        first = lane.submit(stage.call(b"a"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        second = lane.submit(stage.call(b"b"))
        await asyncio.gather(answered(first), answered(second))
        assert script.sizes == [2]

    Stage(script.run).play(scenario)


def test_the_rows_that_a_request_brings_alone_may_be_more() -> None:
    script = Script()

    async def scenario(stage: Stage) -> None:
        lane = lane_of(stage, script.run, most_rows=2)
        (answer,) = await asyncio.gather(answered(lane.submit(stage.call(b"a\nb\nc"))))
        assert answer.body == b"a\nb\nc"

    Stage(script.run).play(scenario)


def test_a_slow_batch_is_answered_in_time_and_found_stuck() -> None:
    slow = Blocking()

    def run(data: bytes) -> bytes:
        return slow.run(b"wait")

    async def scenario(stage: Stage) -> None:
        lane = lane_of(stage, run, fast=False)
        pending = [lane.submit(stage.call(b"a")) for _ in range(3)]
        answers = await asyncio.gather(*map(answered, pending))
        assert [answer.status for answer in answers] == [504] * 3
        await stage.stuck.wait()
        slow.release.set()

    Stage(run, scoring_timeout=SHORT).play(scenario)


class Rows(Batching):
    """Rows of numbers as arrays; the result has one row for each."""

    def rows(self, arguments: Arguments) -> int:
        return len(arguments["data"])

    def join(self, calls: Sequence[Arguments]) -> Arguments:
        return {"data": np.concatenate([call["data"] for call in calls])}

    def split(self, result: Any, rows: Sequence[int]) -> list[Any]:
        return np.split(result, np.cumsum(rows)[:-1])


class Arrays(Raw):
    """Bodies are rows of four little-endian floats; answers are the bytes of the result."""

    def decode(self, request: Any) -> Arguments:
        return {"data": np.frombuffer(request.body, np.float32).reshape(-1, 4)}

    def encode(self, result: Any, request: Any) -> Response:
        return Response(200, np.ascontiguousarray(result).tobytes())


def _predictions() -> dict[str, Callable[[Any], Any]]:
    random = np.random.default_rng(1)
    rows = random.normal(size=(150, 4)).astype(np.float32)
    labels = (rows.sum(axis=1) > 0).astype(int) + (rows[:, 0] > 1)
    linear = LogisticRegression(max_iter=500).fit(rows, labels)
    forest = RandomForestClassifier(20, random_state=1).fit(rows, labels)
    options = {"zipmap": False}
    session = onnxruntime.InferenceSession(
        skl2onnx.to_onnx(linear, rows[:1], options=options).SerializeToString()
    )
    return {
        "labels": linear.predict,
        "forest": forest.predict_proba,
        "probabilities": linear.predict_proba,
        "onnx": lambda data: session.run(None, {"X": data})[1],
    }


PREDICTIONS = _predictions()


@pytest.mark.parametrize("name", PREDICTIONS)
def test_answers_of_real_models_are_those_of_single_scoring(name: str) -> None:
    """Labels and trees bit for bit; sums of products may differ in the last bits, because linear
    algebra libraries add in another order for other numbers of rows."""
    predict = PREDICTIONS[name]
    random = np.random.default_rng(2)
    rows = [random.normal(size=(count, 4)).astype(np.float32) for count in (1, 1, 3, 2, 1, 7, 1)]

    def run(data: Any) -> Any:
        return predict(data)

    async def scenario(stage: Stage) -> None:
        lane = lane_of(stage, run, batching=Rows())
        answers = await asyncio.gather(*(answered(lane.submit(call(stage, data))) for data in rows))
        for answer, data in zip(answers, rows, strict=True):
            alone = run(data)
            assert isinstance(answer.body, bytes)
            together = np.frombuffer(answer.body, alone.dtype).reshape(alone.shape)
            if name in ("labels", "forest"):
                assert (together == alone).all()
            else:
                np.testing.assert_allclose(together, alone, rtol=1e-6, atol=1e-7)

    Stage(run).play(scenario)


def call(stage: Stage, data: Any) -> Call:
    made = stage.call(data.tobytes())
    made.protocol = Arrays()
    return made
