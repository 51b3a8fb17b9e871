"""The home folder, and what runs in it: disk, durability, sockets, agent, gateway."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from modelyard.agent.doctor.finding import Finding, good, missing, poor
from modelyard.agent.gateway import files
from modelyard.agent.gateway.status import read_status
from modelyard.agent.home import AgentHome, is_locked
from modelyard.agent.shutdown import running_agent
from modelyard.errors import ModelyardError
from modelyard.settings import Settings

_LITTLE_SPACE = 5 << 30
_SLOW_SYNC = 0.1
_GIB = 1 << 30


def findings(settings: Settings) -> Iterator[Finding]:
    """All of the home folder."""
    home = AgentHome(settings.home)
    yield durability(settings.home)
    yield space(shutil.disk_usage(_existing(settings.home)).free)
    yield _sockets(home)
    yield _agent(home)
    yield _gateway(home)


def durability(home: Path) -> Finding:
    """Whether what is written there can be made to stay."""
    folder = _existing(home)
    try:
        took = _sync(folder)
    except OSError as error:
        fix = "Set MODELYARD_HOME to a folder that you may write, on a local disk."
        return missing("home", f"{home}: {error}", fix, required=True)
    seen = f"{home}; a write is safe on the disk after {took * 1000:.1f} ms"
    if took > _SLOW_SYNC:
        return poor("home", seen, "Every change waits for this; use a faster disk.")
    return good("home", seen)


def space(free: int) -> Finding:
    """What is left on its disk."""
    seen = f"{free / _GIB:.1f} GiB are free"
    if free < _LITTLE_SPACE:
        return poor("disk", seen, "Make room: images and their caches take gigabytes.")
    return good("disk", seen)


def _existing(folder: Path) -> Path:
    """The folder, or where it would be made."""
    folder = folder.absolute()
    return next(path for path in (folder, *folder.parents) if path.is_dir())


def _sync(folder: Path) -> float:
    """Seconds that it takes to write one file for good."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix=".modelyard-doctor-", dir=folder) as inner:
        with Path(inner, "file").open("wb") as file:
            file.write(b"x")
            file.flush()
            os.fsync(file.fileno())
        descriptor = os.open(inner, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return time.perf_counter() - began


def _sockets(home: AgentHome) -> Finding:
    try:
        return good("sockets", str(home.sockets()))
    except (ModelyardError, OSError) as error:
        hint = error.hint if isinstance(error, ModelyardError) else "Set TMPDIR to another folder."
        return missing("sockets", str(error), hint or "", required=True)


def _agent(home: AgentHome) -> Finding:
    agent = running_agent(home) if home.lock.exists() else None
    if agent is None:
        return good("agent", "does not run; the server starts it")
    return good("agent", f"runs as process {agent.pid}")


def _gateway(home: AgentHome) -> Finding:
    lock = home.gateway / files.LOCK
    status = read_status(home.gateway / files.STATUS) if is_locked(lock) else None
    if status is None:
        return good("gateway", "does not run; the agent starts it")
    if status.url is None:
        fix = "Set MODELYARD_GATEWAY_PORT to a port that is free."
        return missing("gateway", "runs and does not listen", fix)
    return good("gateway", status.url)
