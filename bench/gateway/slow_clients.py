"""A thousand slow clients of `slowhttptest` beside good ones: how these fare, HAProxy beside us.

The service is open to everybody, so that slow clients get as far as a good one. They send headers
slowly, bodies slowly, or read answers of 1 MB slowly.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from bench._race import Racer, figure
from bench.gateway.clients import Steady
from bench.gateway.debian import program
from bench.gateway.fronts import WIRE, echoes, ours, started_if_there
from bench.gateway.peers import haproxy
from bench.runtime.environments import Unavailable
from bench.runtime.measure import say

_SLOW = 1000
_ALONE, _SECONDS = 4, 15
_ANSWER = 1_000_000
_FRONTS = (ours(auth="none"), haproxy(keyed=False))
_WAYS = {
    "headers": ("-H", "-i", "2"),
    "bodies": ("-B", "-i", "2", "-s", "8192", "-x", "10"),
    "readers": ("-X", "-w", "10", "-y", "20", "-n", "2", "-z", "5"),
}


def run() -> Iterator[dict[str, Any]]:
    """The figures."""
    try:
        attacker = program("slowhttptest")
    except Unavailable as error:
        say(f"slowhttptest {error}")
        return
    with ExitStack() as stack:
        replicas = stack.enter_context(echoes(0, 0, size=_ANSWER))
        fronts = started_if_there(stack, _FRONTS, replicas)
        for front in fronts:
            with Steady(front.port, WIRE).asking() as alone:
                time.sleep(_ALONE)
            yield figure(f"{front.name}, nobody slow, p99", alone.p99(), "ms")
        for way, options in _WAYS.items():
            for front in fronts:
                yield from _figures(front, way, [attacker, *options])


def _figures(front: Racer, way: str, attack: list[str]) -> Iterator[dict[str, Any]]:
    url = f"http://127.0.0.1:{front.port}{front.wire.path}"
    many = ["-c", str(_SLOW), "-r", str(_SLOW // 2), "-l", str(_SECONDS), "-u", url]
    with Steady(front.port, WIRE).asking() as good:
        began = time.monotonic()
        subprocess.run([*attack, *many], check=True, capture_output=True)
    failed = len([one for one in good.failures if one.at >= began])
    goal = "<= 0" if front.name == _FRONTS[0].name else ""
    yield figure(f"slow {way}, {front.name}, failed requests", failed, "requests", goal)
    yield figure(f"slow {way}, {front.name}, p99", good.p99(began), "ms")
