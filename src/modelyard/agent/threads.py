"""The agent's conversations with its server, each in a thread of its own.

None of them holds up the loop: a server that is slow or gone costs nothing but news.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from modelyard.agent.backoff import Backoff
from modelyard.agent.capturing import CaptureShipper, RecordFolder
from modelyard.agent.desired import DesiredStore
from modelyard.agent.shipper import ReplicaLog, Shipper
from modelyard.agent.source import ServerSource
from modelyard.agent.telemetry.collector import Collector
from modelyard.domain.observed import ObservedState
from modelyard.errors import ModelyardError

log = logging.getLogger(__name__)

_WAIT = 20.0  # seconds that the server may hold a question for news
_REPORT_EVERY = 2.0
_SHIP_EVERY = 0.25
_TELL_EVERY = 2.0
_MINUTES_AT_ONCE = 20
_CAPTURE_EVERY = 1.0
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 2.0


class Conversation(threading.Thread):
    """Repeats one exchange with the server until it is closed, backing off while it fails."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._closed = threading.Event()
        self._news = threading.Event()
        self._backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)

    def run(self) -> None:
        """Repeat until closed."""
        while not self._closed.is_set():
            try:
                self.exchange()
                self._backoff.succeeded()
            except (ModelyardError, OSError) as error:
                self._rest(error)
            except Exception:
                log.exception("%s", self.name)
                self._rest(None)

    def exchange(self) -> None:
        """One exchange; returns when the next one may begin."""
        raise NotImplementedError

    def close(self) -> None:
        """End after the exchange that is under way."""
        self._closed.set()
        self._news.set()

    def _rest(self, error: Exception | None) -> None:
        if error is not None and self._backoff.failures == 0:
            log.warning("%s: %s", self.name, error)
        pause = self._backoff.failed(time.monotonic())
        self._closed.wait(pause * random.uniform(0.7, 1.3))  # noqa: S311 - only spreads load


class Watcher(Conversation):
    """Asks for desired state, again and again."""

    def __init__(self, source: ServerSource, store: DesiredStore, wake: Callable[[], None]) -> None:
        super().__init__("watcher")
        self._source = source
        self._store = store
        self._wake = wake
        self._tag: str | None = None

    def exchange(self) -> None:
        """Ask once, and wait for news at the server."""
        answer = self._source.desired(self._tag, _WAIT)
        if answer is None:
            return
        if self._store.accept(answer.state):
            self._wake()
        self._tag = answer.tag  # also of a stale one, or the server would send it at once again


class Reporter(Conversation):
    """Reports what is seen at every change, and every two seconds."""

    def __init__(self, source: ServerSource) -> None:
        super().__init__("reporter")
        self._source = source
        self._latest: ObservedState | None = None

    def report(self, observed: ObservedState, *, news: bool) -> None:
        """Have this reported: at once when it is news, else with the next report."""
        self._latest = observed
        if news:
            self._news.set()

    def exchange(self) -> None:
        """Report once, when it is time."""
        self._news.wait(_REPORT_EVERY)
        self._news.clear()
        if self._latest is not None and not self._closed.is_set():
            self._source.publish(self._latest)


class FiguresSender(Conversation):
    """Sends home what this host's services count: as it is now, and minute by minute."""

    def __init__(self, source: ServerSource, collector: Collector) -> None:
        super().__init__("figures sender")
        self._source = source
        self._collector = collector

    def exchange(self) -> None:
        """Tell once, and send the minutes that have ended."""
        self._source.send_figures(self._collector.look())
        while waiting := self._collector.waiting[:_MINUTES_AT_ONCE]:
            self._source.send_minutes(waiting)
            self._collector.sent(waiting)
        self._closed.wait(_TELL_EVERY)


class CaptureSender(Conversation):
    """Sends captured records home."""

    def __init__(self, shipper: CaptureShipper) -> None:
        super().__init__("capture sender")
        self._shipper = shipper
        self.sources: Sequence[RecordFolder] | None = None
        """Where replicas record; replaced whole by the loop. None before its first look, when what
        is told home would leave them out."""

    def keep(self, replica: str) -> None:
        """Take over the records of a replica that has ended, before its folder goes."""
        for source in self.sources or ():
            if source.replica == replica:
                self._shipper.keep(source)

    def exchange(self) -> None:
        """Send what is there."""
        if self.sources is not None:
            self._shipper.pump(self.sources)
        self._closed.wait(_CAPTURE_EVERY)


class LogSender(Conversation):
    """Sends the logs of replicas home."""

    def __init__(self, shipper: Shipper) -> None:
        super().__init__("log sender")
        self._shipper = shipper
        self.logs: Mapping[str, ReplicaLog] = {}
        """What is to be sent, by replica; replaced whole by the loop."""

    def finished(self, replica: str) -> bool:
        """Whether a replica's whole log has arrived."""
        return replica in self.logs and self._shipper.finished(self.logs[replica])

    def exchange(self) -> None:
        """Send what is there."""
        self._shipper.pump(self.logs, time.monotonic())
        self._closed.wait(_SHIP_EVERY)
