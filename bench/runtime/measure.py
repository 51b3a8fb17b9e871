"""Times servers in short rounds: floors and ours in turn, then each peer in turn with ours.

The machine's speed drifts, so ours is compared with another in the same round. CPU time per request
is the steady figure; requests per second and latency also say what else the machine did.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.runtime.client import load
from bench.runtime.environments import Unavailable
from bench.runtime.servers import Running, Server, started
from bench.runtime.workloads import Workload

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "2"))
_WARM_UP = 1.0
_SETTLE = 15.0
"""Seconds that a server gets to finish what the last round left behind."""


@dataclass(frozen=True)
class Round:
    """One server under load for a few seconds."""

    cpu: float
    """Microseconds of the server's CPU time for one request."""
    rate: float
    """Requests per second."""
    p50: float
    """Milliseconds."""
    p99: float
    errors: int


@dataclass
class Outcome:
    """What one server showed in one workload at one number of connections."""

    server: str
    kind: str
    workload: str
    connections: int
    cold_start: float
    memory: float
    """MiB after the load."""
    rounds: list[Round] = field(default_factory=list)
    beside: list[Round] = field(default_factory=list)
    """Of a peer: ours, in the same rounds."""

    def median(self, name: str) -> float:
        """Of a field of the rounds."""
        return statistics.median(getattr(one, name) for one in self.rounds)

    def over(self, other: Outcome, name: str) -> float:
        """The median over rounds of a field, over another's in the same round."""
        pairs = zip(self.rounds, other.rounds, strict=True)
        return statistics.median(getattr(a, name) / getattr(b, name) for a, b in pairs)

    @property
    def errors(self) -> int:
        """Of all rounds."""
        return sum(one.errors for one in self.rounds)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Outcome:
        """From plain data."""
        rounds = {name: [Round(**one) for one in values[name]] for name in ("rounds", "beside")}
        return cls(**{**values, **rounds})


@dataclass(frozen=True)
class Absent:
    """A server that could not take part."""

    server: str
    workload: str
    reason: str


def say(text: str) -> None:
    """A line of progress, not of results."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def measure(
    workload: Workload, beside: Sequence[Server], peers: Sequence[Server], ours: Server
) -> tuple[list[Outcome], list[Absent]]:
    """Start the servers that take part in a workload, check their answers, and time them.

    Args:
        workload: What they are asked.
        beside: Up at the same time, taking turns: they cost nothing while they have nothing to do.
        peers: Up one after the other, since some of them keep busy even then.
        ours: Takes turns with each peer.
    """
    outcomes: list[Outcome] = []
    absent: list[Absent] = []
    with ExitStack() as stack:
        running = list(_start(stack, beside, workload, absent))
        for connections in workload.connections:
            outcomes += race(running, workload, connections)
    for peer in peers:
        with ExitStack() as stack:
            running = list(_start(stack, (peer, ours), workload, absent))
            for connections in workload.connections if len(running) == 2 else ():
                theirs, mine = race(running, workload, connections)
                theirs.beside = mine.rounds
                outcomes.append(theirs)
    return outcomes, absent


def _start(
    stack: ExitStack, servers: Sequence[Server], workload: Workload, absent: list[Absent]
) -> Iterator[Running]:
    for server in servers:
        if workload.name not in server.workloads:
            continue
        try:
            yield stack.enter_context(started(server, workload))
        except Unavailable as error:
            absent.append(Absent(server.name, workload.name, str(error)))
            say(f"{workload.name} {server.name}: {error}")


def race(running: list[Running], workload: Workload, connections: int) -> list[Outcome]:
    """Time servers that run, in turns."""
    outcomes = [
        Outcome(one.server.name, one.server.kind, workload.name, connections, one.cold_start, 0.0)
        for one in running
    ]
    for one in running:
        load(one.port, one.wire, connections, _WARM_UP)
    for _ in range(ROUNDS):
        for one, outcome in zip(running, outcomes, strict=True):
            outcome.rounds.append(_round(one, connections))
            outcome.memory = one.family.memory()
    for one, outcome in zip(running, outcomes, strict=True):
        _check_again(one)
        say(
            f"{workload.name} {outcome.server}, {connections} connections: "
            f"up in {outcome.cold_start:.2f} s, {outcome.median('cpu'):.0f} us, "
            f"{outcome.median('rate'):.0f}/s, p99 {outcome.median('p99'):.1f} ms, "
            f"{outcome.errors} errors"
        )
    return outcomes


def _check_again(one: Running) -> None:
    """Whether it still answers rightly after the load."""
    one.family.settle(_SETTLE)
    try:
        one.check(busy=True)
    except (OSError, Unavailable) as error:
        raise RuntimeError(f"{one.server.name} after the load: {error}") from error


def _round(one: Running, connections: int) -> Round:
    one.family.settle(_SETTLE)
    before = one.family.cpu()
    seen = load(one.port, one.wire, connections, SECONDS)
    used = one.family.cpu() - before
    return Round(
        cpu=used / max(1, seen.requests) * 1e6,
        rate=seen.requests / seen.seconds,
        p50=seen.p50 * 1e3,
        p99=seen.p99 * 1e3,
        errors=seen.errors,
    )
