"""The files in a gateway's folder, and how one is replaced so that nobody ever sees half of it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

CONFIG = "config.json"
"""Written by the agent: `config.GatewayConfig`."""
STATUS = "status.json"
"""Written by the gateway: `status.GatewayStatus`."""
LOADS = "loads.json"
"""Written by the gateway: `loads.LoadFile`."""
PORT = "port"
"""Written by the gateway: the free port it took, which it takes again when it is restarted."""
LOCK = "lock"
"""Locked by the gateway as long as it runs."""


def replace_file(path: Path, text: str, *, durable: bool = True) -> None:
    """Replace the file at `path` at once; only its owner may read it.

    A durable one survives a power cut from here on; another may be lost then, but costs no wait
    for the disk.

    Raises:
        OSError: It could not be written; the old file is untouched.
    """
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    if durable:
        _sync_directory(path.parent)


def _sync_directory(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
