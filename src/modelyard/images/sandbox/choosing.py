"""Which sandbox this host has: each kind is really tried, from the best down, once per process.

Used by whoever starts images, and by `modelyard doctor`.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

from modelyard.domain.cause import Cause, CauseCode
from modelyard.domain.service import Network
from modelyard.images.launch import base_python
from modelyard.images.sandbox import bubblewrap, confine, system_files
from modelyard.images.sandbox.cell import Cell, KernelLimits, Sandbox, SandboxKind
from modelyard.settings import SandboxMode

_PATIENCE = 20.0
_LIMITS = KernelLimits(1 << 20, 1024)
_COUNTED_APART_SINCE = (5, 14)
_TCP_SINCE = 4
"""Version of Landlock."""

_TRY = """
import sys
kept, own = sys.argv[1:]
open(own + "/written", "w").close()
try:
    open(kept).close()
except OSError:
    print("kept")
"""


@cache
def host_sandbox(mode: SandboxMode) -> Sandbox:
    """The best sandbox of this host, or none where the setting says so."""
    if mode is SandboxMode.OFF:
        return Sandbox(SandboxKind.NONE)
    missing: list[str] = []
    for sandbox in _candidates(missing):
        problem = _problem(sandbox)
        if problem is None:
            return replace(sandbox, missing=tuple(missing))
        missing.append(f"{sandbox.kind} does not work here: {problem}")
    return Sandbox(SandboxKind.LIMITS, missing=tuple(missing))


def why_refused(mode: SandboxMode) -> Cause | None:
    """Why this host may start nothing, or None when it may."""
    if mode is not SandboxMode.REQUIRED or (sandbox := host_sandbox(mode)).sound:
        return None
    return Cause(
        code=CauseCode.NO_SANDBOX,
        message="This host has no sandbox, and MODELYARD_SANDBOX says that one is required.",
        evidence=sandbox.missing,
        fix="Install bubblewrap on this host and start server and agent again; "
        "`modelyard doctor` shows what is missing.",
    )


def _candidates(missing: list[str]) -> Iterator[Sandbox]:
    """Every kind that may work, the best first; what surely does not is said in `missing`."""
    if sys.platform != "linux":
        missing.append(f"{platform.system()} has neither bubblewrap nor Landlock")
        return
    if not _places_are_apart(missing):
        return
    if bubblewrap.program() is None:
        missing.append("bubblewrap is not installed")
    else:
        yield from _with_bubblewrap()
    version = confine.landlock_version()
    if version == 0:
        missing.append("this kernel has no Landlock, or it is switched off")
        return
    landlock = Sandbox(SandboxKind.LANDLOCK)
    yield replace(landlock, own_network=True, counts_processes=_counts_apart())
    if version >= _TCP_SINCE:
        yield replace(landlock, no_tcp=True)
    missing.append(f"version {version} of Landlock cannot keep the network away")
    yield landlock


def _with_bubblewrap() -> Iterator[Sandbox]:
    box = Sandbox(SandboxKind.BUBBLEWRAP, own_network=True)
    if os.geteuid() == 0:
        # Nothing else will do: /proc/sys is root's to write, also without a single capability.
        yield replace(box, own_user=True, counts_processes=True)
        return
    box = replace(box, counts_processes=_counts_apart())
    yield replace(box, no_namespaces=True)
    yield box


def _places_are_apart(missing: list[str]) -> bool:
    if not system_files.holds_home(Path(sys.base_prefix)):
        return True
    missing.append(f"Python is installed in {sys.base_prefix}, which holds the home folder")
    return False


def _counts_apart() -> bool:
    """The kernel counts the processes of a user namespace apart; those of root it never limits."""
    found = re.match(r"(\d+)\.(\d+)", platform.release())
    version = tuple(map(int, found.groups())) if found else (0, 0)
    return version >= _COUNTED_APART_SINCE and os.geteuid() != 0


def _problem(sandbox: Sandbox) -> str | None:
    """Why a sandbox does not work here, or None when it does."""
    with tempfile.TemporaryDirectory(prefix="modelyard-try-") as name:
        cell = Cell(sandbox, Path(name), {}, Network.NONE, _LIMITS)
        secret = cell.folder / "secret"
        secret.touch(mode=0o644)
        python, _ = base_python()
        words = [str(python), "-I", "-S", "-c", _TRY, str(secret), str(cell.inside.scratch)]
        try:
            cell.prepare("{}")
            done = subprocess.run(
                cell.command(words), capture_output=True, text=True, timeout=_PATIENCE, env={}
            )
        except (OSError, subprocess.SubprocessError) as error:
            return str(error)
        if done.returncode == 0 and done.stdout == "kept\n":
            return None
        return done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "it keeps nothing"
