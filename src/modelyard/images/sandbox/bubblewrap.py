"""The command line of bubblewrap: a root of its own, made of what one run may see.

Called by `cell.Cell`. The run has no process, network, host name, semaphore or capability in
common with the host, and ends with whoever started it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from modelyard.domain.image import LayerKind
from modelyard.images.launch import ROOTS

PROGRAM = "bwrap"
DEPTH = 2
"""Processes above the runtime: the one that waits outside, and the first one inside."""
USER = "65532"
"""As whom a run sees itself, unless root started it: the user that images have in a container."""

_ALWAYS = [
    *("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"),
    *("--hostname", "modelyard", "--new-session", "--die-with-parent", "--cap-drop", "ALL"),
    *("--proc", "/proc", "--dev", "/dev"),
]


@cache
def program() -> str | None:
    """Path of bubblewrap, or None when it is not installed."""
    return shutil.which(PROGRAM)


def command(
    *,
    system: Iterable[Path],
    layers: Mapping[LayerKind, Path],
    read: Mapping[Path, Path],
    write: Mapping[Path, Path],
    scratch: Path,
    online: bool,
    own_user: bool,
    no_namespaces: bool,
) -> list[str]:
    """Bubblewrap and its options, to which the command inside is to be appended.

    Args:
        system: What is to be seen where it is, and only read.
        layers: Folder of every unpacked layer; its content is seen as in a container.
        read: Files and folders that can be read, by where they are on the host.
        write: Folders that can be written; none of them may lie in another one, where the run
            could put a link in its place.
        scratch: The folder that is its `/tmp`, too.
        online: It shares the network of the host.
        own_user: It is started by root and becomes another user by itself.
        no_namespaces: It cannot make user namespaces.
    """
    words = [program() or PROGRAM, *_ALWAYS, *_user(own_user, no_namespaces)]
    words += [] if online else ["--unshare-net"]
    for path in system:
        words += _bind("--ro-bind", path, path)
    for kind, root in ROOTS.items():
        if kind in layers:
            words += _bind("--ro-bind-try", layers[kind] / root, Path("/", root))
    for option, places in (("--ro-bind", read), ("--bind", write)):
        for outside, inside in places.items():
            words += _bind(option, outside, inside)
    words += ["--bind", str(scratch), "/tmp"]  # noqa: S108 - of this run alone
    # What is left of the new root is memory, which would count for nobody.
    return [*words, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/"]


def _bind(option: str, outside: Path, inside: Path) -> list[str]:
    # The folders that bubblewrap makes by itself are closed to any other user than its own.
    return ["--dir", str(inside.parent), option, str(outside), str(inside)]


def _user(own_user: bool, no_namespaces: bool) -> list[str]:
    if own_user:
        return ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    user = ["--unshare-user", "--uid", USER, "--gid", USER]
    return [*user, "--disable-userns"] if no_namespaces else user
