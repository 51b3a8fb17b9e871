"""Files of records on their host that nobody can take in: the last few are kept for people."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

ENDING = ".damaged"
_MOST = 10


def keep_damaged(path: Path, outbox: Path, name: str) -> None:
    """Put a file aside in the outbox; no error when it is gone.

    Args:
        path: Of the file, on the disk of the outbox.
        outbox: The folder of those that are to be sent.
        name: What it is to be called there.
    """
    with suppress(FileNotFoundError):
        path.rename(outbox / f"{name}{ENDING}")
    for old in sorted(outbox.glob(f"*{ENDING}"))[:-_MOST]:
        old.unlink(missing_ok=True)
