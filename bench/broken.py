"""Updates under load to images that are broken in one way each: how long, and what it costs.

One replica serves, callers ask without a pause, and the service is updated to settings under which
the script breaks. What is measured is the time from the request to update until the service is back
as it was, and the requests that were not answered as they should have been. The table in
`docs/concepts/judgement.md` is from here.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import modelyard
from bench.gateway.product import product
from modelyard.domain.change import ChangeOutcome

CALLERS = 4
LONGEST = 120.0
SCRIPT = """
import os, sys, time
BREAK = os.environ.get("BREAK", "")
if BREAK == "import error":
    raise ImportError("no such thing")
count = 0
def init():
    if BREAK == "init raises":
        raise KeyError("weights")
    if BREAK == "hangs":
        time.sleep(3600)
    if BREAK == "exits":
        sys.exit(7)
def run(data: dict):
    global count, hoard
    time.sleep(0.005)
    if "sample" in data:
        return {"answer": 1}
    count += 1
    if BREAK == "out of memory at the first request":
        hoard = [bytearray(b"x" * (1 << 20)) for _ in range(2000)]
    if BREAK == "500 on all" or (BREAK == "500 on 10 %" and count % 10 == 0):
        raise ValueError("no")
    if BREAK == "ten times slower":
        time.sleep(0.045)
    return {"other": [1]} if BREAK == "wrong schema" else {"answer": 1}
"""
BROKEN = (
    *("import error", "init raises", "hangs", "exits", "out of memory at the first request"),
    *("500 on all", "500 on 10 %", "ten times slower", "wrong schema"),
)


class Callers:
    """They ask all the time, and count what was answered and what was not as it should be."""

    def __init__(self, uri: str, key: str) -> None:
        self._request = urllib.request.Request(uri, b"{}", {"Authorization": f"Bearer {key}"})
        self._ending = threading.Event()
        self.good = self.lost = self.strange = 0
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run) for _ in range(CALLERS)]

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                with urllib.request.urlopen(self._request, timeout=30) as answer:
                    is_usual = "answer" in json.loads(answer.read())
                with self._lock:
                    self.good += is_usual
                    self.strange += not is_usual
            except (urllib.error.URLError, OSError) as error:
                if isinstance(error, urllib.error.HTTPError):
                    error.close()
                with self._lock:
                    self.lost += 1

    @property
    def all(self) -> int:
        """Every request so far."""
        return self.good + self.lost + self.strange


def run() -> Iterator[dict[str, Any]]:
    """The figures."""
    with product() as running, tempfile.TemporaryDirectory(prefix="my-") as name:
        folder, yard = Path(name), running.yard
        (folder / "score.py").write_text(SCRIPT)
        (folder / "model.txt").write_text("1")
        yard.models.register("bench", folder / "model.txt", sample_input={"sample": 1})
        image = yard.images.build("bench", models=["bench"], script=folder / "score.py")
        settings: dict[str, Any] = {"startup_timeout": "5s", "memory": "400MiB"}
        yard.services.deploy("bench", image.reference, **settings)
        for broken in BROKEN:
            yield from _break(yard, broken)


def _break(yard: modelyard.Client, broken: str) -> Iterator[dict[str, Any]]:
    uri = yard.services.get("bench").scoring_uri
    assert uri is not None
    with Callers(uri, yard.services.keys("bench").primary) as callers:
        while callers.good < 500:
            time.sleep(0.01)
        before = callers.all
        began = time.monotonic()
        with contextlib.suppress(modelyard.DeployFailed):
            yard.services.update("bench", environment={"BREAK": broken})
        reason = _wait_until_back(yard, began)
        took = time.monotonic() - began
        time.sleep(0.5)
    bad = callers.lost + callers.strange
    details = {"requests": callers.all - before, "reason": reason}
    yield {
        "figure": f"broken: {broken}, back after",
        "value": took,
        "unit": "s",
        "goal": None,
        **details,
    }
    yield {
        "figure": f"broken: {broken}, requests lost",
        "value": bad,
        "unit": "requests",
        "goal": "<= 0" if broken in BROKEN[:4] else None,
        **details,
    }


def _wait_until_back(yard: modelyard.Client, began: float) -> str:
    """Why it went back."""
    while time.monotonic() - began < LONGEST:
        newest, before = yard.services.history("bench")[:2]
        back = not newest.by and newest.outcome is ChangeOutcome.SERVED
        if back and before.outcome is ChangeOutcome.FAILED:
            return before.reason
        time.sleep(0.05)
    raise TimeoutError("it did not go back")
