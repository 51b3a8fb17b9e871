"""What lies outside of the host's own kernel and disk: the container engine, the package index."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from modelyard.agent.doctor.finding import Finding, good, missing, poor
from modelyard.agent.engine.host import Engines
from modelyard.agent.engine.problems import EngineProblem
from modelyard.blobs.local import LocalBlobs
from modelyard.errors import BuildFailed
from modelyard.images.environment import Environments, Lock
from modelyard.images.launch import current_interpreter
from modelyard.images.layers import LayerCache
from modelyard.settings import Settings

_INDEX = "packages"
_INDEX_VARIABLE = "UV_DEFAULT_INDEX"


def findings(settings: Settings) -> Iterator[Finding]:
    """All that is asked."""
    yield _engine(settings.engine)
    yield packages(settings)


def _engine(named: str | None) -> Finding:
    try:
        found = Engines(named).find()
    except EngineProblem as error:
        return missing("engine", error.message, error.hint or "")
    seen = f"{found.engine.address}, {found.os}/{found.architecture}"
    if not found.shares_sockets:
        return poor("engine", seen, "It shares no Unix socket; each replica gets a port instead.")
    return good("engine", seen)


def packages(settings: Settings) -> Finding:
    """Whether what every image needs can be found where environments are built from."""
    where = _source(settings.wheels)
    if settings.wheels is not None and not any(settings.wheels.glob("*.whl")):
        fix = "Put wheels there, or unset MODELYARD_WHEELS to use the package index."
        return missing(_INDEX, f"{where} has no wheels", fix)
    try:
        lock = _lock(settings)
    except (BuildFailed, OSError) as error:
        fix = f"Images cannot be built. Set {_INDEX_VARIABLE} or MODELYARD_WHEELS, or a proxy."
        return missing(_INDEX, f"{where}: {error}", fix)
    return good(_INDEX, f"{where} has the {len(lock.packages)} that every image needs")


def _lock(settings: Settings) -> Lock:
    """What every image needs, found without anything that was kept of earlier answers."""
    with tempfile.TemporaryDirectory(prefix="modelyard-doctor-") as name:
        home = Path(name)
        elsewhere = settings.model_copy(update={"home": home})
        blobs, layers = LocalBlobs(home / "blobs"), LayerCache(home / "layers")
        return Environments(blobs, layers, elsewhere).lock((), current_interpreter())


def _source(wheels: Path | None) -> str:
    if wheels is not None:
        return str(wheels)
    return "the index of UV_DEFAULT_INDEX" if os.environ.get(_INDEX_VARIABLE) else "the usual index"
