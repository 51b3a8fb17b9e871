"""The files of the host that every runtime needs: the interpreter, libraries, a few devices.

Used by `cell` for what a run may see. Nothing here is private to a person.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from modelyard.images.launch import base_python

DEVICES = tuple(map(Path, ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")))
KERNEL = (Path("/proc"),)
"""What a sandbox without a root of its own has to leave visible."""

_PROGRAMS = [
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"),
    *("/nix/store", "/gnu/store"),
]
_MACHINE = ["/sys/devices/system"]  # how many cores there are, and what they can do
_SETTINGS = [
    f"/etc/{name}"
    for name in (
        "alternatives",
        "ld.so.cache",
        "ld.so.conf",
        "ld.so.conf.d",
        "localtime",
        "mime.types",
        "timezone",
    )
]
_NETWORK = [
    f"/etc/{name}"
    for name in (
        "ca-certificates",
        "gai.conf",
        "host.conf",
        "hosts",
        "nsswitch.conf",
        "pki/ca-trust/extracted",
        "pki/tls/certs",
        "protocols",
        "resolv.conf",
        "services",
        "ssl/certs",
        "ssl/openssl.cnf",
    )
]


def readable(*, online: bool) -> list[Path]:
    """What a run may read of the host and execute, as far as it is there.

    Args:
        online: It may reach other hosts, and so needs their names and certificates.
    """
    wanted = _PROGRAMS + _MACHINE + _SETTINGS + (_NETWORK if online else [])
    system = [Path(path) for path in wanted if os.path.exists(path)]
    return system + [path for path in _interpreter() if not _is_below(path, system)]


def holds_home(path: Path) -> bool:
    """Whether a folder holds the home of this user, with all that is private in it."""
    return Path.home().resolve().is_relative_to(path.resolve())


def _interpreter() -> list[Path]:
    executable, _ = base_python()
    prefixes = [Path(prefix) for prefix in dict.fromkeys((sys.base_prefix, sys.base_exec_prefix))]
    prefixes = [prefix for prefix in prefixes if not holds_home(prefix)]
    return prefixes if _is_below(executable, prefixes) else [*prefixes, executable]


def _is_below(path: Path, folders: list[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)
