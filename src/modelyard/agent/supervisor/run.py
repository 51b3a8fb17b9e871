"""One process of the runtime, from its start to its end: what is seen of it, and why it ended."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Literal

from modelyard.agent.supervisor import causes
from modelyard.agent.supervisor.memory import MemoryWatch, ToldMemory
from modelyard.agent.supervisor.spec import Spec
from modelyard.images import foreign_file

_LARGEST_STATUS = 256 << 10


class Run:
    """What is known of a running process of the runtime; all times are monotonic seconds."""

    def __init__(self, pid: int, status: Path, now: float, *, contained: bool = False) -> None:
        self.pid = pid
        self.phase = "starting"
        """As the runtime itself calls it."""
        self.workers_lost = 0
        """Workers that the runtime replaced by itself."""
        self.ready_since: float | None = None
        self.not_ready_since = now
        self.ended_for: Literal["memory", "startup", "order"] | None = None
        """Why the supervisor ends it, when it does."""
        self.kill_at: float | None = None
        self.memory: MemoryWatch | ToldMemory = ToldMemory() if contained else MemoryWatch()
        self.last_failure: causes.Cause | None = None
        """Why `run()` last raised."""
        self.address: str | None = None
        """Where it answers, when it says so itself."""
        self.told_to_kill = False
        self._own_cause: causes.Cause | None = None
        self._status = status
        self._seen: tuple[int, int, int] | None = None

    @property
    def ready(self) -> bool:
        """Every worker has loaded its model."""
        return self.ready_since is not None

    def look_at_status(self, now: float) -> None:
        """Read what the runtime says of itself, if it said something new."""
        try:
            stat = os.lstat(self._status)
            seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if seen == self._seen:
                return
            self._seen = seen
            self._take(json.loads(foreign_file.read(self._status, _LARGEST_STATUS)), now)
        except (OSError, ValueError, RecursionError):
            return  # not written yet, or not by the runtime

    def overdue(self, spec: Spec, now: float) -> bool:
        """It should have been ready by now."""
        return not self.ready and now - self.not_ready_since > spec.limits.startup_timeout

    def ready_for(self, now: float) -> float:
        """Seconds for which it has been ready."""
        return now - self.ready_since if self.ready_since is not None else 0.0

    def why_ended(self, spec: Spec, status: int, tail: list[str]) -> causes.Cause | None:
        """Why it ended with this status; None when it was told to."""
        if self.ended_for == "order":
            return None
        if self.ended_for == "memory":
            return causes.out_of_memory(spec.service, self.memory.peak, spec.limits.memory, tail)
        if self._own_cause is not None:
            return self._own_cause
        if self.ended_for == "startup":
            return causes.init_hung(spec.service, self.phase, spec.limits.startup_timeout, tail)
        return causes.ended(
            spec.service, status, self.phase, self.memory.peak, spec.limits.memory, tail
        )

    def _take(self, document: Any, now: float) -> None:
        if not isinstance(document, dict):
            return
        self.phase = str(document.get("phase"))[:32]
        self._own_cause = causes.checked(document.get("cause"))
        self.last_failure = causes.checked(document.get("last_failure"))
        if isinstance(self.memory, ToldMemory):
            self.memory.tell(document.get("memory"))
            address = document.get("address")
            self.address = address if isinstance(address, str) else None
        workers_lost = document.get("worker_restarts")
        self.workers_lost = workers_lost if isinstance(workers_lost, int) else 0
        if self.phase != "ready":
            if self.ready:
                self.ready_since, self.not_ready_since = None, now
        elif not self.ready:
            self.ready_since = now
