"""One worker: the process that serves, with an event loop, a lane for `run`, and a heartbeat."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Protocol

import uvloop

from modelyard_runtime.auth import Guard
from modelyard_runtime.board import Board
from modelyard_runtime.causes import Cause
from modelyard_runtime.config import Config
from modelyard_runtime.entry import Entry
from modelyard_runtime.extras import load_grpc, load_otel
from modelyard_runtime.families import CONTENT_TYPE
from modelyard_runtime.forking import Uplink
from modelyard_runtime.http.cors import Cors, across_origins
from modelyard_runtime.http.server import Handler, Request, Response, Server
from modelyard_runtime.http.tls import Tls, TlsFiles
from modelyard_runtime.lanes.admission import Admission
from modelyard_runtime.lanes.base import Lane, LoopLane, Surroundings
from modelyard_runtime.lanes.batching import Batcher
from modelyard_runtime.lanes.main import BatchLane, MainLane
from modelyard_runtime.lanes.mainthread import MainThread, Signals
from modelyard_runtime.lanes.pace import Pace
from modelyard_runtime.lanes.recording import Recorder
from modelyard_runtime.metrics import Metrics
from modelyard_runtime.protocols import inference, mlflow, score
from modelyard_runtime.protocols.base import Surface
from modelyard_runtime.routes import Routes
from modelyard_runtime.scoring import Scorer
from modelyard_runtime.sharing import Share
from modelyard_runtime.slots import Slots

EXIT_STUCK = 4
"""Exit status of a worker in which a call of `run()` could not be ended."""
HEARTBEAT = 0.5
"""Seconds between two signs of life."""

SWITCH_INTERVAL = 0.0005
"""Seconds until a model that computes in Python lets the event loop turn. With Python's 5 ms,
health and every other event wait that long."""

_REPORT_INTERVAL = 1.0


class Drainable(Protocol):
    """A server, of whatever protocol."""

    async def drain(self, deadline_seconds: float) -> None:
        """Stop accepting, finish what is in flight; what is left at the deadline is cut."""


class Worker:
    """Serves one script or model on the replica's sockets until SIGTERM, or until it is stuck."""

    def __init__(
        self, config: Config, entry: Entry, board: Board, slots: Slots, slot: int, uplink: Uplink
    ) -> None:
        self._config = config
        self._entry = entry
        self._board = board
        self._slot = slot
        self._slots = slots
        self._uplink = uplink
        self._share = Share(board, slot)
        self._recorder = (
            Recorder(Path(config.capture), f"worker-{slot}") if config.capture else None
        )
        self._metrics = Metrics(slots, slot)
        self._is_stuck = False
        self._draining = False
        self._last_report = 0.0

    def run(self) -> int:
        """Serve. Returns the exit status of the process; ends it at once when stuck."""
        gc.freeze()  # the model lives as long as the process: looking through it is for nothing
        sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_INTERVAL))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            self._main = MainThread(runner.get_loop())
            self._main.run(self._serve(), self._leave)
        if self._is_stuck:
            self._leave()  # an orderly exit would wait for the call that does not end
        return 0

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        Signals(loop, (signal.SIGTERM, signal.SIGINT), self._ended.set)
        lane = self._lane()
        self._telemetry = load_otel(self._config, self._slots, self._slot)
        self._tracing = self._telemetry.tracing if self._telemetry is not None else None
        try:
            scorer = Scorer(self._entry, self._report)
            if self._tracing is not None:
                self._tracing.running(scorer, is_async=self._entry.is_async)
            servers = await self._start_servers(lane, scorer)
            beating = loop.create_task(self._beat())
            self._board.set_ready(self._slot, True)
            self._uplink.send(ready=True)
            await self._ended.wait()
            self._draining = True
            beating.cancel()
            await asyncio.gather(*(server.drain(self._config.drain_timeout) for server in servers))
        finally:
            self._metrics.publish()
            if self._recorder is not None:
                self._recorder.close()
            lane.close()
            if self._telemetry is not None:
                self._telemetry.close()

    def _leave(self) -> None:
        """End the process from whatever thread, whatever the others do."""
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(EXIT_STUCK if self._is_stuck else 0)

    def _lane(self) -> Lane:
        entry, config = self._entry, self._config
        admission = Admission(config, self._metrics.refused)
        self._metrics.gauges = admission.gauges
        around = Surroundings(
            config.scoring_timeout, admission, self._metrics, self._stuck, self._recorder
        )
        if entry.is_async:
            return LoopLane(around)
        if entry.batching is None or entry.takes_headers:
            return MainLane(around, self._main, Pace())
        batching = entry.batching
        batcher = Batcher(entry.run, batching, batching.max_rows or config.batch.max_rows)
        wait = config.batch.max_wait if batching.max_wait is None else batching.max_wait
        return BatchLane(around, self._main, Pace(), batcher, wait)

    async def _start_servers(self, lane: Lane, scorer: Scorer) -> list[Drainable]:
        config = self._config
        handler = self._routes(lane, scorer)
        guard = self._guard()
        tls = tls_of(config)
        servers: list[Drainable] = []
        for fd in config.sockets:
            listening = socket.socket(fileno=fd)
            strangers = listening.family != socket.AF_UNIX
            server = self._guarded(handler, guard, strangers)
            await server.start(listening, tls if strangers else None)
            servers.append(server)
        grpc = load_grpc(config, self._entry.scene)
        if grpc is not None:
            beside = grpc.serve(self._entry, config, scorer, lane, guard, self._unready)
            await beside.start()
            servers.append(beside)
        return servers

    def _guard(self) -> Guard | None:
        """Lets in who has a key, if keys are needed."""
        hashes = {key.id: key.hash for key in self._config.keys}
        return Guard(hashes, lambda: self._metrics.refused("key")) if hashes else None

    def _guarded(self, handler: Handler, guard: Guard | None, strangers: bool) -> Server:
        """A server that lets in who has a key, if keys are needed, and pages of other origins."""
        limits = self._config.http_limits(strangers=strangers)
        share = self._share
        if guard is None:
            return Server(across_origins(handler, os.environ), limits, share=share)
        shared = across_origins(guard.around(handler), os.environ)
        if isinstance(shared, Cors):
            admit = shared.admitting(guard.admit_preflights)
            return Server(shared, limits, admit, share=share)
        return Server(handler, limits, guard.admit, share=share)

    def _routes(self, lane: Lane, scorer: Scorer) -> Routes:
        protocols = (score, inference, mlflow)
        surfaces = [
            protocol.routes(self._entry, self._config, self._unready) for protocol in protocols
        ]
        surfaces.append(Surface({"/metrics": {"GET": self._metrics_page}}))
        return Routes(lane, scorer, surfaces, self._config, self._unready, self._tracing)

    def _metrics_page(self, request: Request) -> Response:
        return Response(200, self._metrics.text(self._board), [CONTENT_TYPE])

    async def _beat(self) -> None:
        while True:
            self._board.beat(self._slot, time.monotonic())
            self._metrics.publish()
            if self._recorder is not None:
                self._recorder.tick()
            await asyncio.sleep(HEARTBEAT)

    def _unready(self) -> str:
        if self._draining:
            return "The replica is draining."
        ready, workers = self._board.ready(), self._board.workers
        return "" if ready == workers else f"{ready} of {workers} workers have loaded the model."

    def _stuck(self) -> None:
        """Leave: a successor can begin while this process answers what else it has."""
        if not self._is_stuck:
            self._is_stuck = True
            self._metrics.hand_over()  # first: with the message a successor begins
            self._uplink.send(leaving=True)
            self._ended.set()

    def _report(self, cause: Cause) -> None:
        """Tell about a failed score; one a second is enough to say what is wrong."""
        now = time.monotonic()
        if now - self._last_report >= _REPORT_INTERVAL:
            self._last_report = now
            self._uplink.send(failure=cause.to_json())


def tls_of(config: Config) -> Tls | None:
    """The certificate of a replica that has one.

    Raises:
        OSError: A file cannot be read.
        ssl.SSLError: A file does not hold what it should.
    """
    files = config.tls
    if files is None:
        return None
    return Tls(
        TlsFiles(
            Path(files.cert),
            Path(files.key),
            Path(files.client_ca) if files.client_ca else None,
            Path(files.crl) if files.crl else None,
        )
    )
