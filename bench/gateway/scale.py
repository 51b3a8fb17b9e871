"""Replicas that follow a real load: from none to one, from one to four on a step, and back to none.

The picture is `docs/concepts/scaling-measured.svg`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import modelyard
from bench._race import figure
from bench.gateway.clients import Steady
from bench.gateway.product import Product, lasting, product
from bench.scaling import STEP, Run, draw
from modelyard.agent.gateway.files import LOADS
from modelyard.agent.gateway.loads import read_loads

_PICTURE = Path(__file__).parents[2] / "docs" / "concepts" / "scaling-measured.svg"
_CAPACITY = 4
"""Requests in flight at one replica."""
_REQUEST = 0.1
"""Seconds that each takes."""
_LITTLE, _MUCH = 2.0, 100.0
"""Requests per second: a twentieth of what one replica can do, and what needs four."""
_WANTED = ("Starting", "Ready")
_IDLE = "5s"
_PAUSE = 5.0
"""Seconds that each stage lasts once it is reached."""
_LIMIT = 180


def run() -> Iterator[dict[str, Any]]:
    """The figures; the picture is drawn anew."""
    with product() as running:
        limits = {"replicas": 0, "max_replicas": 4, "max_concurrent_requests": _CAPACITY}
        port, wire = running.deploy(running.image(), idle_time=_IDLE, **limits)
        slow = lasting(wire, _REQUEST)
        little, more = Steady(port, slow, _LITTLE, 2), Steady(port, slow, _MUCH - _LITTLE, 40)
        with _watched(running) as (seen, wait):
            wait(0)
            began, at = len(seen.had), time.monotonic()
            with little.asking():
                awake = wait(1)
                time.sleep(_PAUSE)
                with more.asking():
                    grown = wait(4)
                    time.sleep(_PAUSE)
                shrunk = wait(1)
                time.sleep(_PAUSE)
            asleep = wait(0)
            step = (time.monotonic() - at) / (len(seen.had) - began)
    seen = Run(seen.loads[began:], seen.wanted[began:], seen.had[began:], _CAPACITY, step)
    _PICTURE.write_text(draw({"measured": seen}))
    yield figure("from 0 to 1 replica, ready after", awake, "s")
    yield figure("from 1 to 4 replicas, ready after", grown, "s")
    yield figure("from 4 to 1 replica, after the step's end", shrunk, "s")
    yield figure("from 1 to 0 replicas, after the last request", asleep, "s")
    yield figure("turns", seen.turns, "turns", "<= 1")
    yield figure("requests", len(little.seen) + len(more.seen), "requests")
    failed = len(little.failures) + len(more.failures)
    yield figure("failed requests", failed, "requests", "<= 0")


@contextmanager
def _watched(running: Product) -> Iterator[tuple[Run, Callable[[int], float]]]:
    """What there is at every step, and how to wait for so many ready replicas."""
    seen, ended = Run(), threading.Event()

    def watch() -> None:
        with modelyard.connect() as yard:
            while not ended.wait(STEP):
                status = yard.services.get("bench").status
                loads = read_loads(running.home / "agent" / "gateway" / LOADS)
                seen.loads.append(loads.get("bench", 0))
                seen.wanted.append(sum(one.state in _WANTED for one in status.replicas))
                seen.had.append(sum(one.state == "Ready" for one in status.replicas))

    def wait(count: int) -> float:
        """Seconds from now until then."""
        began = time.monotonic()
        while not seen.had or (seen.had[-1], seen.wanted[-1]) != (count, count):
            if time.monotonic() - began > _LIMIT:
                raise RuntimeError(f"{count} replicas were not there after {_LIMIT} s")
            time.sleep(STEP / 2)
        return time.monotonic() - began

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen, wait
    finally:
        ended.set()
        thread.join()
