"""One of the processes of a gateway that serve: accepts, answers, drains. `parent` forks it."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import resource
import signal
import socket
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from modelyard.agent.gateway import files
from modelyard.agent.gateway.board import Board, Seat
from modelyard.agent.gateway.counters import open_counters
from modelyard.agent.gateway.following import Follower
from modelyard.agent.gateway.handler import Gateway, serve
from modelyard.agent.gateway.handover import Giver
from modelyard_runtime.forking import Uplink
from modelyard_runtime.http.server import Limits
from modelyard_runtime.otel import wanted

if TYPE_CHECKING:
    from modelyard.agent.gateway.tracing import Tracing

TICK = 0.05
"""Seconds between looks at the configuration file and at the board."""

EXIT_CROWDED = 2
"""Exit status of a process that found no place on the board."""

_FAREWELL = 30.0  # seconds that a connection without a request gets for its last one
_HURRIED_FAREWELL = 0.5  # the same when nobody takes over
_CONNECTIONS = 8192  # most connections of callers; each may need one to a replica as well
_OTHER_FILES = 128

_log = logging.getLogger("modelyard.gateway")


class Process:
    """Serves on an inherited socket until SIGTERM, or until another gateway has taken over.

    Then it finishes what is in flight. It outlives its parent, and hands over in its place.

    Args:
        folder: Of the gateway.
        listener: The listening socket that all processes share.
        follower: What the parent knew of the configuration at the fork.
        board: What all processes share.
        uplink: The way to the parent.
        generation: Of the gateway it belongs to.
        giver: Hands over to the next gateway, once the parent is gone; None: that is not possible.
    """

    def __init__(
        self,
        folder: Path,
        listener: socket.socket,
        follower: Follower,
        board: Board,
        uplink: Uplink,
        generation: int,
        giver: Giver | None,
    ) -> None:
        self._folder = folder
        self._listener = listener
        self._follower = follower
        self._board = board
        self._uplink = uplink
        self._generation = generation
        self._giver = giver

    def run(self) -> int:
        """Serve. Returns the exit status of the process."""
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(self._run())

    async def _run(self) -> int:
        loop = self._loop = asyncio.get_running_loop()
        self._ending = asyncio.Event()
        self._hurry = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, self._end_soon)
        loop.add_signal_handler(signal.SIGINT, lambda: None)  # the parent's to act on
        loop.add_signal_handler(signal.SIGHUP, self._follow)
        loop.add_reader(self._uplink.lifeline, self._orphaned)
        seat = self._board.sit(self._generation, self._follower.config.version)
        if seat is None:
            return EXIT_CROWDED
        await self._serve(seat)
        seat.leave()
        return 0

    async def _serve(self, seat: Seat) -> None:
        counters = open_counters(self._folder / files.COUNTERS / str(seat.column))
        tracing = _load_tracing()
        self._gateway = Gateway(counters, seat, self._folder / files.CAPTURED, tracing)
        self._server = serve(self._gateway, Limits(connections=_room_for_connections()))
        self._obey()
        self._follow()
        if seat.bell is not None:
            self._loop.add_reader(seat.bell, self._look)
        ticking = self._loop.create_task(self._tick(seat))
        await self._server.start(self._listener, self._follower.tls)
        seat.accepts(more=True)
        self._uplink.send(ready=True)
        await self._ending.wait()
        seat.accepts(more=False)
        await self._drain()
        ticking.cancel()
        self._gateway.close_segments(all_of_them=True)
        self._report()
        if tracing is not None:
            tracing.close()

    async def _drain(self) -> None:
        """Let callers go over to others, or to the next gateway, without noticing.

        A caller that keeps its connection learns with its next answer that it was the last.
        """
        self._gateway.draining = self._hurry.is_set()  # else there is another one, which is ready
        longest = self._gateway.longest_request
        drain = self._server.drain(longest + _FAREWELL, _FAREWELL)
        draining = self._loop.create_task(drain)
        await asyncio.sleep(0)  # the server has let go of the listener
        self._listener.close()
        if self._giver is not None:
            self._loop.remove_reader(self._giver.watched)
            self._giver.close()
        hurry = self._loop.create_task(self._hurry.wait())
        await asyncio.wait([draining, hurry], return_when=asyncio.FIRST_COMPLETED)
        self._server.expire_idle(_HURRIED_FAREWELL)
        await asyncio.wait([draining], timeout=longest + _HURRIED_FAREWELL)
        hurry.cancel()
        draining.cancel()

    def _end_soon(self) -> None:
        self._hurry.set()
        self._ending.set()

    def _orphaned(self) -> None:
        """The parent is gone: serve on until there is another gateway, and hand over to it."""
        self._loop.remove_reader(self._uplink.lifeline)
        if self._board.generation < self._generation:  # it never became the gateway
            self._end_soon()
        elif self._giver is not None and not self._ending.is_set():
            self._offer(self._giver)

    def _offer(self, giver: Giver) -> None:
        self._offered = giver.watched
        self._loop.add_reader(self._offered, self._give, giver)

    def _give(self, giver: Giver) -> None:
        self._loop.remove_reader(self._offered)
        if not giver.turn() and not self._ending.is_set():
            self._offer(giver)

    async def _tick(self, seat: Seat) -> None:
        while True:
            seat.beat()
            self._follow()
            self._look()
            self._gateway.close_segments()
            self._report()
            await asyncio.sleep(TICK)

    def _look(self) -> None:
        if self._board.generation > self._generation:  # another gateway serves
            self._ending.set()
        self._gateway.look()

    def _follow(self) -> None:
        if self._follower.look(self._loop.time()):
            self._obey()

    def _obey(self) -> None:
        """Serve by the configuration that is known; what is in flight goes on by the one before."""
        if self._follower.config.version:
            self._server.tls = self._follower.tls
            self._gateway.clients = self._follower.clients
            self._gateway.apply(self._follower.config)

    def _report(self) -> None:
        refused = self._gateway.take_refused()
        if refused:
            told = {name: asdict(refusals) for name, refusals in refused.items()}
            self._uplink.send(refused=told)


def _load_tracing() -> Tracing | None:
    """What makes spans of requests, where the environment has a receiver for them."""
    if "traces" not in wanted(os.environ):
        return None
    try:
        module = importlib.import_module("modelyard.agent.gateway.tracing")
        tracing: Tracing = module.Tracing()
    except ImportError as error:
        _log.warning(
            "requests are not traced, although there is a receiver: %s; "
            "`pip install 'modelyard[otel]'` beside the server, and start it again",
            error,
        )
        return None
    return tracing


def _room_for_connections() -> int:
    """How many connections this process may have, once it has all the descriptors it can get."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # some systems allow less than they say
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return _CONNECTIONS
    return max(min(_CONNECTIONS, (soft - _OTHER_FILES) // 2), 1)
