"""Starts an image like a replica, for somebody who wants to ask it something, and ends it.

Used by `profiling`, and for replays of captured requests.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from modelyard.domain.image import LayerKind, Manifest
from modelyard.domain.service import ReplicaSettings
from modelyard.images.launch import replica_config, runtime_command
from modelyard.images.sandbox.cell import Cell, KernelLimits
from modelyard.images.sandbox.choosing import host_sandbox
from modelyard.images.trial import Trial
from modelyard.images.watch import Limits, Watch
from modelyard.settings import Settings


@contextmanager
def started(
    manifest: Manifest,
    layers: Mapping[LayerKind, Path],
    folder: Path,
    replica: ReplicaSettings,
    limits: Limits,
    settings: Settings,
    purpose: str,
    log: Callable[[str, str], None],
) -> Iterator[Watch]:
    """An image, ready; its output goes to the log, and it is ended with the context.

    Args:
        manifest: The image.
        layers: Folder of every unpacked layer.
        folder: Private, empty folder of the run.
        replica: Cores, network, variables and the longest time of a request.
        limits: On the time to start and on memory.
        settings: Say how it is kept apart.
        purpose: What it is started for, as the log calls it.
        log: Takes a line and its source.

    Raises:
        BuildFailed: The image did not get ready; `details["cause"]` says why.
        Cancelled: It is not wanted any longer.
    """
    kernel = KernelLimits.of(limits.memory, replica.workers)
    cell = Cell(host_sandbox(settings.sandbox), folder, layers, replica.network, kernel)
    inside = cell.inside
    command, environment = runtime_command(
        manifest, inside.layers, replica.cpu, replica.environment, inside.scratch
    )
    config = replica_config(
        manifest,
        inside.layers,
        service=purpose,
        workers=replica.workers,
        scoring_timeout=replica.scoring_timeout,
        drain_timeout=1.0,
        network=not cell.is_offline,
    )
    trial = Trial(cell, command, environment, config)
    try:
        watch = Watch(trial, time.monotonic() + limits.timeout, limits, purpose, log)
        watch.until_ready()
        yield watch
    finally:
        trial.end()
        for line in trial.output():
            log(line, purpose)
