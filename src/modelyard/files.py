"""How a small file is replaced so that nobody ever sees half of it, also after a power cut.

Used by every process that keeps its state, a key or a secret in a file. Blobs are `blobs`.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

PRIVATE = 0o600


def replace_file(
    path: Path, content: str | bytes, *, durable: bool = True, mode: int = PRIVATE
) -> None:
    """Replace the file at `path` at once; only its owner may read it, unless `mode` says more.

    A durable one survives a power cut from here on; another may be lost then, but costs no wait
    for the disk.

    Raises:
        OSError: It could not be written; the old file is untouched.
    """
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            os.fchmod(file.fileno(), mode)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    if durable:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
