"""The figures that have goals: ours beside the floor of its kind and the best peer."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from bench.runtime.measure import Outcome
from bench.runtime.ours import MODELYARD, OPTIMISED, SCRIPTED
from bench.runtime.peers import AZUREML, BATCHED, SINGLE
from bench.runtime.servers import Kind
from bench.runtime.workloads import CONNECTIONS

Figure = dict[str, Any]

_BATCHING = ("MLServer", "BentoML", "LitServe", "Ray Serve")


class Results:
    """The outcomes of a run, to be looked up."""

    def __init__(self, outcomes: Sequence[Outcome]) -> None:
        self._found = {(one.server, one.workload, one.connections): one for one in outcomes}
        self._all = outcomes

    def of(self, server: str, workload: str, connections: int = CONNECTIONS) -> Outcome | None:
        """What a server showed; None if it did not take part."""
        return self._found.get((server, workload, connections))

    def best(
        self, workload: str, name: str, connections: int = CONNECTIONS, *, batching: bool = False
    ) -> Outcome | None:
        """The product peer with the least CPU time (`cpu`) or the highest `rate`."""
        peers = [
            one
            for one in self._all
            if (one.workload, one.connections) == (workload, connections)
            and one.kind == Kind.PRODUCT
            and (not batching or one.server in _BATCHING)
        ]
        choose = min if name == "cpu" else max
        return choose(peers, key=lambda one: one.median(name), default=None)


def ratio(ours: Outcome, other: Outcome, name: str) -> float:
    """The median over rounds of ours over the other's in the same round."""
    mine = other.beside if other.beside and ours.server == MODELYARD.name else ours.rounds
    if len(mine) != len(other.rounds) or (mine is ours.rounds and other.kind != Kind.FLOOR):
        return ours.median(name) / other.median(name)  # they were not timed side by side
    pairs = zip(mine, other.rounds, strict=True)
    return statistics.median(getattr(a, name) / (getattr(b, name) or 1e-9) for a, b in pairs)


def figures(results: Results) -> Iterator[Figure]:
    """Everything that has a goal, as far as the servers for it took part."""
    yield from _beside_floor(results)
    yield from _beside_peers(results)
    yield from _forest(results)
    yield from _scripts(results)
    yield from _memory(results)


def _floor_of(workload: str) -> str:
    return BATCHED.name if workload in BATCHED.workloads else SINGLE.name


def _figure(name: str, value: float, unit: str, goal: str) -> Figure:
    return {"figure": name, "value": value, "unit": unit, "goal": goal}


def _beside_floor(results: Results) -> Iterator[Figure]:
    for workload in ("W1", "W2", "W3", "W4"):
        ours = results.of(MODELYARD.name, workload)
        floor = results.of(_floor_of(workload), workload)
        if ours and floor:
            name = f"{workload} CPU over {floor.server}"
            goal = "" if workload == "W4" else "<= 1.3"
            yield _figure(name, ratio(ours, floor, "cpu"), "ratio", goal)
            name = f"{workload} p99 over {floor.server}"
            yield _figure(name, ratio(ours, floor, "p99"), "ratio", "<= 1.5")
        if ours:
            yield _figure(f"{workload} errors", ours.errors, "requests", "<= 0")


def _beside_peers(results: Results) -> Iterator[Figure]:
    for workload, part in (("W1", 15), ("W2", 15), ("W4", 4)):
        ours, best = results.of(MODELYARD.name, workload), results.best(workload, "cpu")
        if ours and best:
            name = f"{workload} CPU of {best.server}, the best product, over ours"
            yield _figure(name, 1 / ratio(ours, best, "cpu"), "ratio", f">= {part}")
    for workload in ("W1", "W2"):
        ours, best = results.of(MODELYARD.name, workload), results.best(workload, "rate")
        if ours and best:
            name = f"{workload} requests per second over {best.server}, the best product"
            yield _figure(name, ratio(ours, best, "rate"), "ratio", ">= 10")


def _forest(results: Results) -> Iterator[Figure]:
    for server, goal, counts in (
        (MODELYARD.name, ">= 1", (1, 16, 64, 256)),
        (OPTIMISED.name, ">= 50", (64,)),
    ):
        for count in counts:
            ours = results.of(server, "W5", count)
            best = results.best("W5", "rate", count, batching=True)
            if ours and best:
                name = f"W5 requests per second, {server}, over {best.server}, {count} connections"
                yield _figure(name, ratio(ours, best, "rate"), "ratio", goal)
                yield _figure(f"W5 errors, {server}, {count}", ours.errors, "requests", "<= 0")


def _scripts(results: Results) -> Iterator[Figure]:
    for workload, times in (("W1", 4), ("W2", 12)):
        ours, theirs = results.of(SCRIPTED.name, workload), results.of(AZUREML.name, workload)
        if ours and theirs:
            name = f"{workload} requests per second of the original's script, over its own server"
            yield _figure(name, ratio(ours, theirs, "rate"), "ratio", f">= {times}")
        floor = results.of(SINGLE.name, workload)
        if ours and floor:
            name = f"{workload} CPU of the original's script over {floor.server}"
            yield _figure(name, ratio(ours, floor, "cpu"), "ratio", "")
            yield _figure(f"{workload} errors, script", ours.errors, "requests", "<= 0")


def _memory(results: Results) -> Iterator[Figure]:
    for workload in ("W1", "W2", "W3", "W4", "W5"):
        ours = results.of(MODELYARD.name, workload)
        floor = results.of(_floor_of(workload), workload)
        if ours and floor:
            above = ours.memory - floor.memory
            yield _figure(f"{workload} memory above {floor.server}", above, "MiB", "<= 30")
