"""The control groups of this process, in which a container has less than its host."""

from __future__ import annotations

from pathlib import Path


def groups(root: Path, controller: str) -> list[Path]:
    """The groups of this process and those around them, as version 1 and version 2 have them.

    Args:
        root: Where `sys/fs/cgroup` and `proc` are looked for.
        controller: Such as `cpu` or `memory`.
    """
    mounts = root / "sys/fs/cgroup"
    found = [mounts, mounts / controller]  # what a container sees as the root is its own group
    for line in text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        top = mounts if not controllers else mounts / controller
        if not controllers or controller in controllers.split(","):
            inner = top / path.lstrip("/")
            found += [inner, *(outer for outer in inner.parents if top in outer.parents)]
    return found


def text(path: Path) -> str:
    """What a file says; nothing where there is none."""
    try:
        return path.read_text()
    except OSError:
        return ""
