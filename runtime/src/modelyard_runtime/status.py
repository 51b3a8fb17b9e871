"""The status file: what a replica is doing, for its supervisor to read at any moment."""

from __future__ import annotations

import os
from typing import Any

import orjson

from modelyard_runtime.causes import Cause

STARTING = "starting"
IMPORTING = "importing"
INITIALISING = "initialising"
READY = "ready"
FAILED = "failed"
DRAINING = "draining"


class StatusFile:
    """Writes the whole status at every change, by renaming, so that readers never see half of it.

    One process at a time may hold it: the one that is loading, then the one that owns the workers.
    A replica without a supervisor has no path, and nothing is written.
    """

    def __init__(self, path: str | None, pid: int) -> None:
        self._path = path
        self._status: dict[str, Any] = {
            "phase": STARTING,
            "pid": pid,
            "workers": [],
            "worker_restarts": 0,
            "cause": None,
            "last_failure": None,
        }
        self._write()

    def update(self, **changes: Any) -> None:
        """Set fields of the status; writes only if one of them differs."""
        if any(self._status[name] != value for name, value in changes.items()):
            self._status |= changes
            self._write()

    def fail(self, cause: Cause) -> None:
        """The start has failed."""
        self.update(phase=FAILED, cause=cause.to_json(), workers=[])

    def _write(self) -> None:
        if self._path is None:
            return
        temporary = f"{self._path}.{os.getpid()}"
        with open(temporary, "wb") as file:
            file.write(orjson.dumps(self._status))
        os.replace(temporary, self._path)
