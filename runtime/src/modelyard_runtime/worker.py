"""One worker: the process that serves, with an event loop, a lane for `run()`, and a heartbeat."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
import time

import uvloop

from modelyard_runtime.board import Board
from modelyard_runtime.causes import Cause
from modelyard_runtime.config import Config
from modelyard_runtime.cors import across_origins
from modelyard_runtime.entry import Entry
from modelyard_runtime.forking import Uplink
from modelyard_runtime.http import Limits, Server
from modelyard_runtime.lanes import Lane, LoopLane, ThreadLane
from modelyard_runtime.openapi import describe
from modelyard_runtime.protocols import score
from modelyard_runtime.routes import Routes
from modelyard_runtime.scoring import Scorer

EXIT_STUCK = 4
"""Exit status of a worker in which a call of `run()` could not be ended."""
HEARTBEAT = 1.0
"""Seconds between two signs of life."""

_REPORT_INTERVAL = 1.0


class Worker:
    """Serves one script on the inherited socket until SIGTERM, or until it is stuck."""

    def __init__(
        self, config: Config, entry: Entry, board: Board, slot: int, uplink: Uplink
    ) -> None:
        self._config = config
        self._entry = entry
        self._board = board
        self._slot = slot
        self._uplink = uplink
        self._is_stuck = False
        self._last_report = 0.0

    def run(self) -> int:
        """Serve. Returns the exit status of the process; ends it at once when stuck."""
        gc.freeze()  # the model lives as long as the process: looking through it is for nothing
        uvloop.run(self._serve())
        if self._is_stuck:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(EXIT_STUCK)  # an orderly exit would wait for the call that does not end
        return 0

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._draining = False
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ended.set)
        lane = self._lane()
        handler = across_origins(self._routes(lane), os.environ)
        server = Server(handler, self._limits())
        await server.start(socket.socket(fileno=self._config.fd))
        beating = loop.create_task(self._beat())
        self._board.set_ready(self._slot, True)
        self._uplink.send(ready=True)
        await self._ended.wait()
        self._draining = True
        beating.cancel()
        await server.drain(self._config.drain_timeout)
        lane.close()

    def _lane(self) -> Lane:
        lane = LoopLane if self._entry.is_async else ThreadLane
        return lane(self._config.scoring_timeout, self._stuck)

    def _routes(self, lane: Lane) -> Routes:
        scorer = Scorer(self._entry, self._report)
        surfaces = [score.routes(self._entry, self._config, self._unready)]
        documents = describe(self._entry, self._config.service)
        return Routes(lane, scorer, surfaces, documents, self._unready)

    def _limits(self) -> Limits:
        # The gateway is the only client: it keeps its connections, and has been strict already.
        return Limits(
            body_bytes=self._config.max_body,
            header_time=60.0,
            body_time=300.0,
            idle_time=3600.0,
            connections=10_000,
        )

    async def _beat(self) -> None:
        while True:
            self._board.beat(self._slot, time.monotonic())
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
            self._uplink.send(leaving=True)
            self._ended.set()

    def _report(self, cause: Cause) -> None:
        """Tell about a failed score; one a second is enough to say what is wrong."""
        now = time.monotonic()
        if now - self._last_report >= _REPORT_INTERVAL:
            self._last_report = now
            self._uplink.send(failure=cause.to_json())
