"""What processes use, as `/proc` tells; nothing on systems without it."""

from __future__ import annotations

import os

_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident_bytes(pid: int) -> int | None:
    """Memory of a process in bytes; None when it cannot be told."""
    fields = _read(pid, "statm").split()
    return int(fields[1]) * _PAGE if fields else None


def _read(pid: int, name: str) -> bytes:
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()
    except OSError:
        return b""
