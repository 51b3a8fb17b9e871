"""`python -m modelyard.images.load`: sends one request over and over, and measures the answers.

A process of its own, so that it costs the server nothing and ends with it: it lives as long as its
stdin. `profiling` starts it and tells it, one JSON object a line, what to do:

    {"socket", "request"}                  once: path of a Unix socket, and the request in base64
    {"concurrency", "warm_up", "seconds", "most_seconds", "answers"}           then: one step each

Each step is answered by `{"began"}`, then `{"ended", …}` with what was measured in between.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import time
from asyncio import BaseTransport, StreamReader, Transport
from typing import Any, cast

import httptools
import uvloop

_LONGEST_COMMAND = 1 << 30
_LONGEST_EXCERPT = 2000
_RECONNECT = 0.05
"""Seconds before a broken connection is opened again."""
_POLL = 0.05


class Tally:
    """What came back since the last reset."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self.errors = 0
        self.failure: tuple[int, str] | None = None
        """Status and body of the first bad answer ever; 0 for a broken connection."""

    @property
    def seen(self) -> int:
        """Answers of any kind."""
        return len(self.latencies) + self.errors

    def reset(self) -> None:
        """Forget what was measured."""
        self.latencies = []
        self.errors = 0

    def count(self, status: int, body: bytes, took: float) -> None:
        """One answer."""
        if 200 <= status < 300:
            self.latencies.append(took)
            return
        self.errors += 1
        if self.failure is None:
            self.failure = (status, body[:_LONGEST_EXCERPT].decode("utf-8", "backslashreplace"))

    def count_broken(self) -> None:
        """A connection that broke while an answer was awaited."""
        self.errors += 1
        if self.failure is None:
            self.failure = (0, "the connection broke")


class Caller(asyncio.Protocol):
    """One connection with one request in flight, as long as the load says so."""

    def __init__(self, load: Load) -> None:
        self.wanted = True
        """Whether it is to go on after its present request."""
        self.waiting = False
        """For an answer."""
        self._load = load
        self._transport: Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._sent = 0.0
        self._body = b""

    def connection_made(self, transport: BaseTransport) -> None:
        """Begin."""
        self._transport = cast(Transport, transport)  # uvloop's is no subclass of it
        self.call()

    def call(self) -> None:
        """Send the request, unless no more are wanted."""
        self.waiting = self.wanted and self._transport is not None
        if not self.waiting or self._transport is None:
            return
        self._sent = time.perf_counter()
        self._transport.write(self._load.request)

    def data_received(self, data: bytes) -> None:
        """Part of an answer."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            assert self._transport is not None
            self._transport.abort()

    def on_body(self, body: bytes) -> None:
        """Called by the parser. Only the beginning of a bad answer is of interest."""
        if len(self._body) < _LONGEST_EXCERPT:
            self._body += body

    def on_message_complete(self) -> None:
        """Called by the parser: the answer is whole, so the next request may go."""
        took = time.perf_counter() - self._sent
        self._load.tally.count(self._parser.get_status_code(), self._body, took)
        self._body = b""
        self.call()

    def connection_lost(self, error: Exception | None) -> None:
        """Count what was lost, and let the load open another connection."""
        del error
        self._load.lost(self)


class Load:
    """Keeps a number of requests in flight."""

    def __init__(self, path: str, request: bytes) -> None:
        self.request = request
        self.tally = Tally()
        self._path = path
        self._callers: list[Caller] = []
        self._opening: set[asyncio.Task[None]] = set()

    def keep(self, number: int) -> None:
        """Keep this many requests in flight from now on."""
        for index, caller in enumerate(self._callers):
            caller.wanted = index < number
            if caller.wanted and not caller.waiting:
                caller.call()
        for _ in range(number - len(self._callers)):
            self._open(0.0)

    def lost(self, caller: Caller) -> None:
        """A connection is gone."""
        if caller.waiting:
            self.tally.count_broken()
        if caller in self._callers:
            self._callers.remove(caller)
            self._open(_RECONNECT)

    def _open(self, delay: float) -> None:
        task = asyncio.create_task(self._connect(delay))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _connect(self, delay: float) -> None:
        loop = asyncio.get_running_loop()
        caller = Caller(self)
        self._callers.append(caller)
        try:
            await asyncio.sleep(delay)
            await loop.create_unix_connection(lambda: caller, self._path)
        except OSError:
            self.tally.count_broken()
            self._callers.remove(caller)
            self._open(_RECONNECT)


class _Commands(StreamReader):
    """The lines of stdin; `gone` is done when the other end is."""

    def __init__(self) -> None:
        super().__init__(limit=_LONGEST_COMMAND)
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def feed_eof(self) -> None:
        """Called by the event loop."""
        super().feed_eof()
        if not self.gone.done():
            self.gone.set_result(None)


async def _run() -> None:
    loop, commands = asyncio.get_running_loop(), _Commands()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    loop.set_exception_handler(_give_up)
    steps = asyncio.create_task(_steps(commands))
    await asyncio.wait([steps, commands.gone], return_when=asyncio.FIRST_COMPLETED)
    steps.cancel()


def _give_up(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A bug must not look like an image that does not answer."""
    loop.default_exception_handler(context)
    os._exit(1)


async def _steps(commands: _Commands) -> None:
    first = json.loads(await commands.readline())
    load = Load(first["socket"], base64.b64decode(first["request"]))
    while line := await commands.readline():
        await _step(load, json.loads(line))


async def _step(load: Load, wanted: dict[str, Any]) -> None:
    load.keep(wanted["concurrency"])
    await asyncio.sleep(wanted["warm_up"])
    load.tally.reset()
    began, cpu = time.perf_counter(), time.process_time()
    _say(began=began)
    longest = began + wanted["most_seconds"]
    await asyncio.sleep(wanted["seconds"])
    while not load.tally.seen or (
        load.tally.seen < wanted["answers"] and time.perf_counter() < longest
    ):
        await asyncio.sleep(_POLL)
    seconds = time.perf_counter() - began
    _say(ended=seconds, **_measured(load.tally, time.process_time() - cpu))
    load.keep(0)


def _measured(tally: Tally, cpu: float) -> dict[str, Any]:
    latencies = sorted(tally.latencies)
    return {
        "answered": len(latencies),
        "errors": tally.errors,
        "failure": tally.failure,
        "cpu": cpu,
        **{f"p{share}": _percentile(latencies, share) for share in (50, 95, 99)},
    }


def _percentile(ordered: list[float], share: int) -> float:
    """The smallest value that `share` percent do not exceed; 0 of none."""
    if not ordered:
        return 0.0
    return ordered[-(-len(ordered) * share // 100) - 1]


def _say(**values: Any) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    uvloop.run(_run())
