"""How many processors this process may use: in a container, fewer than the host has.

Asked by an image that is started by itself; a replica of an agent is told.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

from modelyard_runtime.control_groups import groups, text

_ROOT = Path("/")


def usable(root: Path = _ROOT) -> int:
    """Whole processors, at least one: those of the quota, rounded up, and of the affinity.

    Args:
        root: Where `sys/fs/cgroup` and `proc` are looked for.
    """
    quota = _quota(root)
    available = _affinity()
    return available if quota is None else max(1, min(available, math.ceil(quota)))


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS has no affinity


def _quota(root: Path) -> float | None:
    """The smallest quota of the groups that this process is in; None: there is none."""
    quotas = [quota for group in groups(root, "cpu") if (quota := _quota_of(group)) is not None]
    return min(quotas, default=None)


def _quota_of(group: Path) -> float | None:
    version_2 = text(group / "cpu.max").split()
    if len(version_2) == 2:
        return _ratio(*version_2)
    return _ratio(text(group / "cpu.cfs_quota_us"), text(group / "cpu.cfs_period_us"))


def _ratio(quota: str, period: str) -> float | None:
    try:
        time, span = int(quota), int(period)
    except ValueError:  # `max`, or there is no such file
        return None
    return time / span if time > 0 and span > 0 else None
