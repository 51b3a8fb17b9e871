"""Copies that a host keeps of what is in an object store."""

from __future__ import annotations

from pathlib import Path

from modelyard.capture.files import CapturedFiles
from modelyard.capture.remote import RemoteFiles


def forget_copies(files: CapturedFiles, tmp_path: Path) -> None:
    """As if this host were another one; a folder has nothing but itself."""
    if isinstance(files, RemoteFiles):
        for path in (tmp_path / "captured").rglob("*.parquet"):
            path.unlink()
