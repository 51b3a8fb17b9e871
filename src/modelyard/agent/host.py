"""What replicas may have of this host all together."""

from __future__ import annotations

import os
from pathlib import Path

from modelyard.domain.scaling import Room
from modelyard_runtime import cpus
from modelyard_runtime.control_groups import groups, text

_FOR_REPLICAS = 0.9
"""Share of the memory; the rest is left to the agent, the gateway and everything else."""
_ROOT = Path("/")


def host_room(root: Path = _ROOT) -> Room:
    """Memory and cores of this host, or of the control group that its agent is in."""
    return Room(memory=int(host_memory(root) * _FOR_REPLICAS), cores=cpus.usable(root))


def host_memory(root: Path = _ROOT) -> int:
    """Bytes that processes of this host may have: of the machine, or of the tightest group."""
    limits = [limit for group in groups(root, "memory") if (limit := _limit(group)) is not None]
    return min([_physical(), *limits])


def _limit(group: Path) -> int | None:
    for name in ("memory.max", "memory.limit_in_bytes"):
        limit = text(group / name).strip()
        if limit.isdigit():
            return int(limit)
    return None


def _physical() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
