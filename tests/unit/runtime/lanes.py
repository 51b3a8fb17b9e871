"""What a lane needs around it, without a worker: calls, a main thread, limits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, cast

from modelyard_runtime.board import Board
from modelyard_runtime.causes import Scene
from modelyard_runtime.config import Config
from modelyard_runtime.entry import Entry
from modelyard_runtime.http.server import Headers, HttpError, Request, Response
from modelyard_runtime.lanes.admission import Admission
from modelyard_runtime.lanes.base import Lane, Surroundings
from modelyard_runtime.lanes.mainthread import MainThread
from modelyard_runtime.lanes.pace import Pace, Usage
from modelyard_runtime.metrics import Metrics
from modelyard_runtime.protocols.base import Protocol
from modelyard_runtime.scoring import Call, Scorer, asking
from modelyard_runtime.signature import Arguments
from modelyard_runtime.slots import Slots

LONG = 60.0
SHORT = 0.25

Scenario = Callable[["Stage"], Coroutine[Any, Any, None]]


class Raw(Protocol):
    """The body is the argument `data`; the result is answered as it was returned."""

    name = "score"
    streams = True
    reads_bodies = True

    def decode(self, request: Request) -> Arguments:
        if request.body == b"unreadable":
            raise HttpError(400, "It cannot be read.")
        return {"data": request.body}

    def encode(self, result: Any, request: Request) -> Response:
        return Response(200, result)


def config(**changes: Any) -> Config:
    settings: dict[str, Any] = {
        "fd": 0,
        "workers": 1,
        "code": "",
        "script": "score.py",
        "models_root": "",
        "models": (),
        "status": "",
        "service": "s",
        "scoring_timeout": LONG,
        "max_body": 1000,
        "drain_timeout": 1.0,
    }
    return Config(**{**settings, **changes})


class Stage:
    """Where lanes are tried: their surroundings, and a scorer with a `run`."""

    def __init__(self, run: Callable[..., Any], *, streams: bool = False, **limits: Any) -> None:
        self.loop = asyncio.new_event_loop()
        self.main = MainThread(self.loop)
        self.slots = Slots(1)
        self.metrics = Metrics(self.slots, 0)
        self.admission = Admission(config(**limits), self.metrics.refused)
        self.timeout = limits.get("scoring_timeout", LONG)
        self.stuck = asyncio.Event()
        self.times_stuck = 0
        self.lanes: list[Lane] = []
        self.failures: list[Any] = []
        entry = Entry(run, cast(Any, None), Scene("", "", ""), streams=streams)
        self._scorer = Scorer(entry, self.failures.append)

    @property
    def surroundings(self) -> Surroundings:
        return Surroundings(self.timeout, self.admission, self.metrics, self._note_stuck)

    def call(self, body: bytes, *headers: tuple[bytes, bytes]) -> Call:
        request = Request("POST", "/score", "", Headers([*headers]), body)
        return Call(self._scorer, request, asking(request.head, Raw()))

    def has(self, lane: Any) -> Any:
        """Remember a lane, so that it is closed."""
        self.lanes.append(lane)
        return lane

    def play(self, scenario: Scenario) -> None:
        """Run a scenario in the event loop, with this thread as the main one."""

        async def whole() -> None:
            try:
                await asyncio.wait_for(scenario(self), LONG)
            finally:
                for lane in self.lanes:
                    lane.close()

        others = set(threading.enumerate())
        self.main.run(whole(), lambda: None)
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()
        for thread in set(threading.enumerate()) - others:
            thread.join(LONG)

    def figures(self) -> str:
        """The metrics as text."""
        return self.metrics.text(Board(1)).decode()

    def _note_stuck(self) -> None:
        self.times_stuck += 1
        self.stuck.set()


class Script:
    """A `run` that returns its data, blocks on `wait` until released, and notes its calls."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.calls: list[bytes] = []
        self.threads: list[int] = []

    def run(self, data: bytes) -> bytes:
        self.calls.append(data)
        self.threads.append(threading.get_ident())
        if data == b"wait":
            assert self.release.wait(LONG)
        if data == b"raise":
            raise ValueError
        return data

    async def run_async(self, data: bytes) -> bytes:
        self.calls.append(data)
        self.threads.append(threading.get_ident())
        if data == b"wait":
            await asyncio.sleep(LONG)
        if data == b"block":
            assert self.release.wait(LONG)
        return data


class Always(Pace):
    """Calls are fast, or slow, whatever they take."""

    def __init__(self, *, fast: bool) -> None:
        super().__init__()
        self.fast = fast

    def proves_fast(self, seconds: float, cpu_seconds: float, requests: int = 1) -> bool:
        return self.fast

    def proves_slow(self, seconds: float, requests: int = 1, used: Usage | None = None) -> bool:
        return not self.fast
