"""The machine and its kernel: Python, sandbox, control groups, limits, clock."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import modelyard
from modelyard.agent.doctor.finding import Finding, good, missing, poor
from modelyard.agent.host import host_room
from modelyard.domain.scaling import Room
from modelyard.domain.service import Network
from modelyard.domain.values import size_text
from modelyard.images.launch import base_python, current_platform
from modelyard.images.sandbox import confine
from modelyard.images.sandbox.cell import SandboxKind
from modelyard.images.sandbox.choosing import host_sandbox, why_refused
from modelyard.settings import SandboxMode, Settings

_SYSTEMS = ("linux", "darwin")
_FEW_FILES = 4096
_PATIENCE = 20.0
_SCOPED_SINCE = 6
_SANDBOX_FIX = (
    "Install bubblewrap (`apt-get install bubblewrap`), then `modelyard server stop --all`."
)
_NAMESPACES_FIX = (
    "As root: `sysctl kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000`, and on "
    "Ubuntu `kernel.apparmor_restrict_unprivileged_userns=0`, as far as these exist."
)


def findings(settings: Settings) -> Iterator[Finding]:
    """All of the machine."""
    yield _python()
    yield _platform()
    yield sandbox(settings.sandbox)
    if sys.platform == "linux":
        yield landlock(confine.landlock_version())
        yield _user_namespaces()
        yield control_groups(Path("/sys/fs/cgroup"))
    yield capacity(host_room())
    yield open_files(*resource.getrlimit(resource.RLIMIT_NOFILE))
    yield clock(time.time(), Path(modelyard.__file__).stat().st_mtime)


def _python() -> Finding:
    path, version = base_python()
    return good("python", f"{platform.python_version()}, {path}; images are for {version}")


def _platform() -> Finding:
    if sys.platform in _SYSTEMS:
        return good("platform", f"{current_platform()}, {platform.release()}")
    return missing("platform", sys.platform, "Use Linux or macOS.", required=True)


def sandbox(mode: SandboxMode) -> Finding:
    """Which sandbox replicas and checks get; it has just been used."""
    found = host_sandbox(mode)
    seen = "; ".join((found.describe(Network.NONE), *found.missing))
    if mode is SandboxMode.OFF:
        return poor("sandbox", seen, "Unset MODELYARD_SANDBOX, or set it to `auto`.")
    if (refused := why_refused(mode)) is not None:
        return missing("sandbox", seen, refused.fix, required=True)
    if found.kind is SandboxKind.BUBBLEWRAP and found.sound:
        return good("sandbox", f"{seen}; tried")
    if found.kind is SandboxKind.LANDLOCK:
        return poor("sandbox", seen, _SANDBOX_FIX)
    return missing("sandbox", seen, _SANDBOX_FIX)


def landlock(version: int) -> Finding:
    """What can be had where bubblewrap does not work."""
    if version == 0:
        fix = "Use a kernel from 5.13 on, with `landlock` among its `lsm=`; bubblewrap is better."
        return missing("landlock", "this kernel has none, or it is switched off", fix)
    if version < _SCOPED_SINCE:
        seen = f"version {version}: it keeps files apart, and not all of network and signals"
        return poor("landlock", seen, "A newer kernel has more; bubblewrap needs none of it.")
    return good("landlock", f"version {version}")


def _user_namespaces() -> Finding:
    python, _ = base_python()
    command = [str(python), "-I", "-S", str(Path(confine.__file__)), "--unshare", "--", str(python)]
    try:
        done = subprocess.run(
            [*command, "-I", "-S", "-c", ""], capture_output=True, text=True, timeout=_PATIENCE
        )
    except (OSError, subprocess.SubprocessError) as error:
        return poor("namespaces", str(error), _NAMESPACES_FIX)
    if done.returncode != 0:
        return poor("namespaces", done.stderr.strip() or "refused", _NAMESPACES_FIX)
    whose = "as root" if os.geteuid() == 0 else "without root"
    return good("namespaces", f"network, semaphores and host name of its own, {whose}")


def control_groups(root: Path) -> Finding:
    """What limits this host as a whole; replicas have limits of their own."""
    if (root / "cgroup.controllers").exists():
        limit = _text(root / "memory.max")
        seen = "version 2" + (f", memory of this group: {limit}" if limit.isdigit() else "")
        return good("cgroups", seen)
    if (root / "memory").is_dir():
        limit = _text(root / "memory" / "memory.limit_in_bytes")
        bounded = limit.isdigit() and int(limit) < 1 << 60
        return good("cgroups", "version 1" + (f", memory: {limit}" if bounded else ""))
    return poor(
        "cgroups",
        "none is mounted",
        "Container engines need /sys/fs/cgroup; replicas on the target `local` do not.",
    )


def capacity(room: Room) -> Finding:
    """What replicas may have all together, within this process's control group."""
    return good("capacity", f"{size_text(room.memory)} and {room.cores:g} cores for replicas")


def open_files(soft: int, hard: int) -> Finding:
    """How many files and connections a process may have."""
    most = "no limit" if hard == resource.RLIM_INFINITY else str(hard)
    seen = f"{soft} open files, at most {most}"
    if hard != resource.RLIM_INFINITY and hard < _FEW_FILES:
        return poor("descriptors", seen, f"Raise the hard limit (`ulimit -Hn`) to {_FEW_FILES}.")
    return good("descriptors", seen)


def clock(now: float, installed: float) -> Finding:
    """Whether the time can be true: tokens and certificates are judged by it."""
    seen = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    if now < installed:
        return poor("clock", f"{seen} is before Modelyard was installed", "Set the clock.")
    return good("clock", seen)


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
