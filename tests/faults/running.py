"""The running product from outside: its processes, and clients that load it."""

from __future__ import annotations

import json
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

CLIENTS = 4


class Load:
    """Clients that score in a loop; they know nothing but HTTP and the key."""

    def __init__(self, uri: str, key: str) -> None:
        self._request = (uri, b"{}", {"Authorization": f"Bearer {key}"})
        self._stop = threading.Event()
        self.answered = 0
        self.failures: list[str] = []
        self._threads = [threading.Thread(target=self._run) for _ in range(CLIENTS)]

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with urllib.request.urlopen(
                    urllib.request.Request(*self._request), timeout=30
                ) as answer:
                    answer.read()
                self.answered += 1
            except urllib.error.HTTPError as error:
                with error:
                    self.failures.append(f"{error.code} {error.read()[:200]!r}")
            except OSError as error:
                self.failures.append(repr(error))

    def more(self, count: int) -> None:
        """Wait until `count` more requests were answered."""
        goal = self.answered + count
        deadline = time.monotonic() + 60
        while self.answered < goal:
            assert time.monotonic() < deadline, f"no answers; failures {self.failures[:3]}"
            time.sleep(0.005)

    @contextmanager
    def running(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def home() -> Path:
    return Path(os.environ["MODELYARD_HOME"])


def server_pid() -> int:
    return int(json.loads((home() / "server.json").read_text())["pid"])


def agent_pid() -> int:
    return int(json.loads((home() / "agent" / "agent.json").read_text())["pid"])


def a_runtime() -> int:
    """Process id of a replica, or of the sandbox around it."""
    state = next((home() / "agent" / "replicas").glob("*/state.json"))
    return int(json.loads(state.read_text())["runtime"])
