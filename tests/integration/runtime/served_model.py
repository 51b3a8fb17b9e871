"""A real replica that serves a model's files without a script."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.integration.runtime.replica import Replica
from tests.integration.runtime.wire import PATIENCE


@contextlib.contextmanager
def serving(
    source: Path,
    format: str,
    framework: str | None = None,
    *,
    ready: bool = True,
    packages: Sequence[str] | None = None,
    environment: dict[str, str] | None = None,
    patience: float = PATIENCE,
    **settings: Any,
) -> Iterator[Replica]:
    """A replica of the model in a file or a folder; gone with all its processes at the end.

    Args:
        source: The file, or the folder with all files of the model.
        format: As registered.
        framework: As registered.
        ready: Wait until it is ready; otherwise until it is that or has failed.
        packages: Folders to import from, instead of those of the tests.
        environment: More variables.
        patience: Seconds that it may take to load.
        **settings: More of `replica.json`.
    """
    running = Replica("")
    model = running.folder / "models" / "flowers" / "3"
    if source.is_dir():
        shutil.copytree(source, model)
    else:
        model.mkdir(parents=True)
        shutil.copy(source, model / source.name)
    entry = {"name": "flowers", "version": "3", "path": "flowers/3", "format": format}
    running.config |= {"script": None, "models": [{**entry, "framework": framework}], **settings}
    running.packages = list(packages or running.packages)
    running.environment |= environment or {}
    running.patience = patience
    running.start()
    try:
        if ready:
            running.wait_until_ready()
        else:
            running.wait_for(lambda status: status.get("phase") in ("ready", "failed"))
        yield running
    finally:
        running.stop()
