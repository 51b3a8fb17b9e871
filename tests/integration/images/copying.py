"""This interpreter once more, in another place."""

from __future__ import annotations

import shutil
from pathlib import Path

from modelyard.images.bases import host


def copy_python(folder: Path) -> Path:
    """Copy it below `folder`, with what a base takes of it; a link to the copy."""
    for source in host.host_files():
        place = Path(source.place)
        if place.is_relative_to("usr/local"):
            target = folder / place.relative_to("usr/local")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source.source, target)
    link = folder.with_suffix(".link")
    link.symlink_to(folder / Path(host.PYTHON).relative_to("usr/local"))
    return link
